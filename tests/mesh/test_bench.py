"""`tongbao bench`: a short one of each kind, on an installation of its own."""

import json

import pytest

from tests.mesh.test_demo import tongbao

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
WRITTEN = {"trade.trade", "payment.payment", "channel.attempt", "ledger.voucher",
           "settlement.clearing_item"}  # fmt: skip


@pytest.mark.parametrize(
    ("what", "options"), [("pay-wallet", ["--form", "batch", "--pack", "16"]), ("collect", [])]
)
def test_a_bench_measures_and_its_books_fit(fresh_home, what, options):
    """Every figure is there, every payment that was paid is booked and cleared."""
    done = tongbao(
        "bench", what, "--seconds", "2", "--warm-up", "1", "--in-flight", "32",
        "--no-references", "--json", *options, home=fresh_home,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["problems"] == []
    assert told["payments_per_s"] > 0
    assert told["p99_ms"] >= told["p50_ms"] > 0
    counted = told["counted"]
    assert counted["paid"] == counted["booked"] == counted["cleared"] > 0
    assert told["cpu_us_per_payment"].keys() >= {"trade", "postgres", "load", "sum"}
    assert told["rows_per_payment"].keys() >= WRITTEN
    assert told["rows_per_statement"]["trade.add_trade"] >= 1
    assert 0 < told["commits_per_payment"] < 40
    assert told["wal_bytes_per_payment"] > 100
    assert not (fresh_home / "bench").exists()


def test_a_sweep_has_levels_and_a_picture_after_earlier_orders(fresh_home, tmp_path):
    """Two levels, the median of two runs each, 300 orders before; kept where it was started."""
    done = tongbao(
        "bench", "sweep", "pay-wallet", "--in-flight", "4", "--in-flight", "16", "--runs", "2",
        "--seconds", "1", "--warm-up", "0.5", "--fill", "300", "--json",
        home=fresh_home, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [level["in_flight"] for level in told["levels"]] == [4, 16]
    for level in told["levels"]:
        assert level["payments_per_s"] in level["runs"]
        assert len(level["runs"]) == 2
    assert told["problems"] == []
    assert min(told["fill"][table] for table in WRITTEN) >= 300
    assert told["machine"].keys() >= {"fdatasync_us", "postgres", "python", "system"}
    [folder] = (tmp_path / "bench" / "results").iterdir()
    assert {file.name for file in folder.iterdir()} == {"result.json", "result.txt", "levels.svg"}


@pytest.mark.parametrize(
    "wrong",
    [
        ["--seconds", "0"],
        ["--in-flight", "0"],
        ["--pack", "513"],
        ["--warm-up", "-1"],
        ["--runs", "0"],
        ["--fill", "-1"],
    ],
)
def test_a_bench_that_makes_no_sense_is_refused(fresh_home, wrong):
    """Before anything is started."""
    done = tongbao("bench", "collect", *wrong, home=fresh_home)
    assert done.returncode == 2
    assert wrong[0] in done.stderr
