"""An installation in the hands of an operator: up, looked at, wrong in many ways, down.

One installation serves all tests of this file, in their order; the last one takes it down.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from mesh.cli.logs import logs
from mesh.clock import real_now
from mesh.config import load, services
from mesh.doctor import Verdict, examine
from mesh.pki import prepare_keys
from mesh.supervisor import is_running, read_state
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]


def tongbao(*arguments, home, **variables):
    """Run the command; return its finished process. Nothing but `variables` is set."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TONGBAO_")}
    return subprocess.run(
        [sys.executable, "-m", "mesh.cli", *arguments],
        cwd=ROOT,
        env={**kept, "TONGBAO_HOME": str(home), "COLUMNS": "100", **variables},
        capture_output=True,
        text=True,
        timeout=200,
    )


@pytest.fixture(scope="module")
def up(home):
    """The home of an installation that was brought up detached."""
    folder = home / "operated"
    folder.mkdir()
    folder.chmod(0o711)
    done = tongbao("up", "--detach", "--json", home=folder)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["event"] == "ready"
    assert told["pid"] == is_running(folder)
    yield folder
    assert tongbao("down", home=folder).returncode == 0


async def found(home, check):
    """What the doctor says of one check, all of its findings."""
    return [one async for one in examine(load(home=home)) if one.check == check]


async def worst(home, check):
    """The worst verdict on one check, and what is seen there."""
    order = [Verdict.FAIL, Verdict.WARN, Verdict.SKIP, Verdict.PASS]
    return min(await found(home, check), key=lambda one: order.index(one.verdict))


def asked(home, service, sql):
    """The rows of one statement in the role of a service."""
    dsn = json.loads((home / "run" / f"{service}.json").read_text())["database_dsn"]
    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.execute(sql)
        return cursor.fetchall() if cursor.description else []


def as_superuser(home, sql):
    """Run one statement as the administrator of the embedded server."""
    dsn = json.loads((home / "run" / "trade.json").read_text())["database_dsn"]
    password = (home / "secrets" / "postgres").read_text().strip()
    with psycopg.connect(make_conninfo(dsn, user="postgres", password=password),
                         autocommit=True) as connection:  # fmt: skip
        connection.execute(sql)


def test_a_second_up_says_what_runs(up):
    """It starts nothing, and it is no error: what was asked for is so."""
    pid = is_running(up)
    for more in ([], ["--detach"]):
        done = tongbao("up", *more, home=up)
        assert done.returncode == 0
        assert done.stdout.startswith(f"up already, pid {pid} since ")
        assert "logs" in done.stdout
        assert "tongbao down" in done.stdout
    assert is_running(up) == pid


def test_status_says_how_each_part_is(up):
    """Pid, uptime, restarts, port, and how far behind it is."""
    done = tongbao("status", "--json", home=up)
    assert done.returncode == 0
    told = json.loads(done.stdout)
    assert told["healthy"]
    assert told["version"]
    parts = {part["name"]: part for part in told["parts"]}
    for service in services():
        part = parts[service]
        assert part["answers"]
        assert part["restarts"] == 0
        assert part["outbox_rows"] == 0
        assert part["late_seconds"] == 0
        assert part["up_seconds"] >= 0
        assert part["pid"] == read_state(up)["pids"][service]
    assert parts["postgres"]["outbox_rows"] is None
    text = tongbao("status", home=up).stdout
    assert f"version {told['version']}" in text


def test_logs_of_every_process_can_be_read(up, capsys):
    """As text, as JSON; a name that is none is misuse and lists those there are."""
    for name in (*services(), "postgres", "nats"):
        assert logs(name, lines=3, home=up) == 0
    capsys.readouterr()
    assert logs("supervisor", lines=1000, home=up, as_json=True) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {"started"} <= {one["event"] for one in events}
    assert logs(lines=1000, home=up) == 0
    assert "started  trade  pid=" in capsys.readouterr().out
    done = tongbao("logs", "../secrets/postgres", home=up)
    assert done.returncode == 2
    assert "trade" in done.stderr


def test_logs_are_followed_until_interrupted(up):
    """What comes after the last line is shown as it comes."""
    command = [sys.executable, "-u", "-m", "mesh.cli", "logs", "supervisor", "-f", "-n", "1"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TONGBAO_")}
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=kept | {"TONGBAO_HOME": str(up)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as following:
        assert following.stdout is not None
        assert following.stdout.readline()  # The last line there was: it is looking now.
        os.kill(read_state(up)["pids"]["risk"], signal.SIGKILL)
        assert "exited  risk  code=-9" in following.stdout.readline()
        following.send_signal(signal.SIGINT)
        assert following.wait(timeout=20) == 130


def test_roll_refuses_a_name_that_is_no_service(up):
    """Before anything is touched."""
    done = tongbao("roll", "postgres", home=up)
    assert done.returncode == 2
    assert "must be one of" in done.stderr


async def test_a_healthy_installation_fails_nothing(up):
    """What it warns of is that webhooks may go anywhere, as they should in a demo."""

    async def well():
        findings = [one async for one in examine(load(home=up))]
        return {one.check for one in findings if one.verdict is not Verdict.PASS} == {"egress"}

    await eventually(well, within=60)


def test_the_doctor_says_what_to_do_next(up):
    """Each finding is one line of JSON; whatever is not PASS has a next step."""
    done = tongbao("doctor", "--json", home=up)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0
    assert len(told) > 30
    assert all(set(one) == {"check", "verdict", "seen", "next_step"} for one in told)
    assert all(one["next_step"] for one in told if one["verdict"] != "PASS")


async def test_postgres_that_may_lose_what_it_acknowledged_fails(up):
    """Every setting on which durability rests is looked at."""
    for name in ("fsync", "synchronous_commit", "full_page_writes"):
        as_superuser(up, f"ALTER SYSTEM SET {name} = off")
        as_superuser(up, "SELECT pg_reload_conf()")

        async def seen(name=name):
            finding = await worst(up, "postgres")
            return finding.verdict is Verdict.FAIL and f"{name} is off" in finding.seen

        await eventually(seen)
        as_superuser(up, f"ALTER SYSTEM RESET {name}")
        as_superuser(up, "SELECT pg_reload_conf()")
    await eventually_passes(up, "postgres")


async def eventually_passes(home, check):
    """Return when the doctor is content with one check."""

    async def passes():
        return (await worst(home, check)).verdict is Verdict.PASS

    await eventually(passes, within=40)


@pytest.mark.parametrize(
    ("check", "verdict", "service", "wrong", "right"),
    [
        (
            "dead letters",
            Verdict.WARN,
            "trade",
            "INSERT INTO dead_letter VALUES ('c', 'b', 0, '', 'planted')",
            "DELETE FROM dead_letter",
        ),
        (
            "schemas",
            Verdict.FAIL,
            "risk",
            "UPDATE alembic_version SET version_num = '0000'",
            "UPDATE alembic_version SET version_num = '0001'",
        ),
        ("partitions", Verdict.FAIL, "payment",
         "CREATE TABLE probe (number text PRIMARY KEY) PARTITION BY RANGE (number);"
         "CREATE TABLE probe_default PARTITION OF probe DEFAULT",
         "DROP TABLE probe"),
        ("clock", Verdict.FAIL, "ledger", "UPDATE clock SET shift = interval '1 hour'", None),
    ],
)  # fmt: skip
async def test_what_is_wrong_in_a_schema_is_found(up, check, verdict, service, wrong, right):
    """Planted, found with its verdict, and gone when it is mended."""
    [[revision]] = asked(up, "risk", "SELECT version_num FROM alembic_version")
    for statement in wrong.split(";"):
        asked(up, service, statement)
    finding = await worst(up, check)
    assert finding.verdict is verdict
    assert service in finding.seen
    if right is not None:
        asked(up, service, right.replace("'0001'", f"'{revision}'"))
        await eventually_passes(up, check)


async def test_business_time_that_is_ahead_is_a_warning(up):
    """The services disagreed after the last test; the command mends that, and a warning stays."""
    assert tongbao("clock", "advance", "0s", home=up).returncode == 0
    finding = await worst(up, "clock")
    assert finding.verdict is Verdict.WARN
    assert "3600 s ahead" in finding.seen


async def test_open_rooms_and_foreign_keys_fail(up):
    """Who may read a key may speak as its owner."""
    (up / "secrets").chmod(0o755)
    finding = await worst(up, "directories")
    assert finding.verdict is Verdict.FAIL
    assert finding.next_step == f"chmod 700 {up / 'secrets'}"
    (up / "secrets").chmod(0o700)
    public = up / "keys" / "public" / "svc-trade.pem"
    kept = public.read_text()
    public.write_text((up / "keys" / "public" / "svc-risk.pem").read_text())
    finding = await worst(up, "token keys")
    assert finding.verdict is Verdict.FAIL
    assert "svc-trade.pem is not the public half of trade.key" in finding.seen
    public.write_text(kept)
    await eventually_passes(up, "token keys")


async def test_a_process_that_hangs_fails(up):
    """It runs, and does not answer."""
    pid = read_state(up)["pids"]["settlement"]
    os.kill(pid, signal.SIGSTOP)
    try:
        finding = await worst(up, "health")
        assert finding.verdict is Verdict.FAIL
        assert f"settlement (pid {pid}) does not answer" in finding.seen
        assert tongbao("status", home=up).returncode == 1
    finally:
        os.kill(pid, signal.SIGCONT)
    await eventually_passes(up, "health")


def test_business_time_that_jumps_takes_its_partitions_along(up):
    """They are there when the command returns, before anything of that time is booked."""
    assert tongbao("clock", "advance", "70d", home=up).returncode == 0
    sql = "SELECT name FROM partition_horizon() WHERE ends > business_now() + interval '31 days'"
    assert {name for (name,) in asked(up, "ledger", sql)} >= {"transfer", "voucher"}


def test_down_says_what_it_stopped_and_may_be_repeated(up):
    """It waits for the end."""
    pid = is_running(up)
    done = tongbao("down", "--json", home=up)
    assert done.returncode == 0
    told = json.loads(done.stdout)
    assert told["stopped"] == pid
    assert {*services(), "postgres", "nats"} <= set(told["names"])
    assert is_running(up) is None
    assert json.loads(tongbao("down", "--json", home=up).stdout) == {"stopped": None}
    assert tongbao("logs", "trade", "-n", "1", home=up).returncode == 0


async def test_when_nothing_runs_it_says_what_it_could_not_look_at(up):
    """Nothing fails, what needs a server is skipped, the rest is looked at."""
    findings = [one async for one in examine(load(home=up))]
    skipped = {one.check for one in findings if one.verdict is Verdict.SKIP}
    assert {"postgres", "schemas", "outbox", "nats", "health", "trial balance"} <= skipped
    assert not [one for one in findings if one.verdict is Verdict.FAIL]
    assert (await worst(up, "certificates")).verdict is Verdict.PASS


async def test_where_nothing_ever_was_nothing_fails(tmp_path):
    """The doctor makes nothing, not even the home."""
    place = tmp_path / "nowhere"
    findings = [one async for one in examine(load(home=place))]
    assert not [one for one in findings if one.verdict is Verdict.FAIL]
    assert not place.exists()


async def test_ports_and_certificates_are_looked_at_before_they_hurt(tmp_path, monkeypatch):
    """A port that somebody has, a certificate that ends soon or has ended."""
    prepare_keys(tmp_path, services())
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        taken = stranger.getsockname()[1]
        settings = load(home=tmp_path, http_port=taken)
        said = [one async for one in examine(settings) if one.check == "ports"]
    assert [one.verdict for one in said] == [Verdict.FAIL]
    assert f"http {taken}" in said[0].seen
    for left, verdict in ((80, Verdict.WARN), (100, Verdict.FAIL)):
        ahead = timedelta(days=left)
        monkeypatch.setattr("mesh.doctor.keys.real_now", lambda ahead=ahead: _later(ahead))
        assert (await worst(tmp_path, "certificates")).verdict is verdict


def _later(by):
    return real_now() + by
