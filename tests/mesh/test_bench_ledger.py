"""`tongbao bench ledger`: a short one of each mode, on an installation of its own."""

import json

import pytest

from bench.report import save
from tests.mesh.test_demo import tongbao

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def bench(home, *options):
    done = tongbao(
        "bench", "ledger", "--seconds", "1", "--warm-up", "0.5", "--accounts", "100", "--json",
        *options, home=home,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_bench_measures_beside_its_references(fresh_home, tmp_path):
    """Every figure is there, what was answered is in the journal, the books are proved."""
    told = bench(fresh_home, "--batch", "200", "--fill", "1000", "20000")

    assert told["problems"] == []
    first, last = told["growth"]
    assert first["earlier"] == 1000
    assert last["earlier"] >= 20000
    assert last["transfers_per_s"] == told["transfers_per_s"]
    assert told["errors"] == {}
    assert told["counted"]["answered"] == told["counted"]["posted"] > 0
    assert told["transfers_per_s"] > 0
    assert told["p99_ms"] >= told["p50_ms"] > 0
    references = told["references"]
    for name in ("sql_function_per_s", "copy_floor_per_s", "pgbench_tpcb_per_s"):
        assert references[name] > 0
    assert references["of_sql_function"] == pytest.approx(
        told["transfers_per_s"] / references["sql_function_per_s"], rel=0.01
    )
    assert told["cpu_us_per_transfer"].keys() == {"ledger", "postgres"}
    assert not (fresh_home / "bench").exists()
    save(tmp_path / "kept", told, "as told")
    assert json.loads((tmp_path / "kept" / "result.json").read_text()) == told


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("hot", ["--books", "2"]),
        ("zipf", ["--batch", "50"]),
        ("linked", ["--batch", "50"]),
        ("twophase", ["--batch", "50"]),
        ("uniform", ["--batch", "1", "--in-flight", "64"]),
    ],
)
def test_every_mode_holds(fresh_home, mode, options):
    """All is posted, nothing is refused, and the books are proved."""
    told = bench(fresh_home, "--mode", mode, "--no-references", *options)

    assert told["problems"] == []
    assert told["errors"] == {}
    assert told["counted"]["answered"] == told["counted"]["posted"] > 0
    assert told["references"] == {}


@pytest.mark.parametrize(
    "wrong",
    [
        ["--batch", "8191"],
        ["--batch", "1", "--mode", "twophase"],
        ["--books", "5", "--in-flight", "4"],
        ["--seconds", "0"],
        ["--accounts", "1"],
        ["--fill", "-1"],
        ["--fill", "2000", "1000"],
    ],
)
def test_a_bench_that_makes_no_sense_is_refused(fresh_home, wrong):
    """Before anything is started."""
    done = tongbao("bench", "ledger", *wrong, home=fresh_home)
    assert done.returncode == 2
    assert wrong[0] in done.stderr
