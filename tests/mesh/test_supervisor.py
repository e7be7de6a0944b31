"""The supervisor: what it starts, restarts and ends; its children here are tiny programs."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from mesh.embedded import StartError
from mesh.embedded.pgfiles import workers
from mesh.embedded.process import BEHIND
from mesh.supervisor import Child, Supervisor, is_running, read_state
from mesh.supervisor.home import end_leftovers
from tests.mesh.servers import SMALL, run
from tests.waiting import eventually

# Writes a line when it runs, another when it is asked to end.
LIVES = """
import os, signal, sys
file = open(sys.argv[1], "a", buffering=1)
def end(*_):
    print("end", os.getpid(), file=file)
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("run", os.getpid(), file=file)
while True:
    signal.pause()
"""
# Hears no request to end.
DEAF = LIVES.replace("signal.signal(signal.SIGTERM, end)",
                     "signal.signal(signal.SIGTERM, signal.SIG_IGN)")  # fmt: skip

PROGRAMS = {"lives": LIVES, "deaf": DEAF}


def child(home, name, *, program=LIVES, **named):
    """Return a child that runs `program` and is ready once it has written its first line."""
    notes = home / f"{name}.txt"

    async def ready():
        return notes.exists() and "run" in notes.read_text()

    return Child(name=name, argv=[sys.executable, "-c", program, notes], ready=ready, **named)


def notes_of(home, name):
    return [line.split()[0] for line in (home / f"{name}.txt").read_text().splitlines()]


def supervise(home, *children, **named):
    return Supervisor(home, children=children, options=SMALL, **named)


def logged(home):
    """Return (event, name) of each line of the supervisor's log."""
    lines = (home / "logs" / "supervisor.log").read_text().splitlines()
    return [(line["event"], line["name"]) for line in map(json.loads, lines)]


def alive(pid):
    """Return whether a process runs; one that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def niceness(pid):
    """Return how nice a process is, and its session where the kernel shares out by those."""
    found = {os.getpriority(os.PRIO_PROCESS, pid)}
    group = Path(f"/proc/{pid}/autogroup")
    switch = Path("/proc/sys/kernel/sched_autogroup_enabled")
    if switch.exists() and switch.read_text().strip() == "1":
        found.add(int(group.read_text().split()[-1]))
    return found


async def test_everything_is_up_inside_and_gone_outside(fresh_home):
    """PostgreSQL, NATS and children run; others can read where; nothing is left."""
    async with supervise(fresh_home, child(fresh_home, "one"), child(fresh_home, "two")) as mesh:
        assert set(mesh.pids) == {"postgres", "nats", "one", "two"}
        assert all(alive(pid) for pid in mesh.pids.values())
        state = read_state(fresh_home)
        assert state["pids"] == mesh.pids
        assert state["ports"] == mesh.ports
        assert state["pid"] == os.getpid()
        assert state["healthy"]
        for port in mesh.ports.values():
            socket.create_connection(("127.0.0.1", port)).close()
        pids = list(mesh.pids.values())
    assert not [pid for pid in pids if alive(pid)]
    assert read_state(fresh_home) is None
    assert is_running(fresh_home) is None


async def test_what_is_behind_the_doors_lets_them_go_first(fresh_home):
    """A refusal must be fast when all processors are taken; so the doors' share is larger."""
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    door, other = child(fresh_home, "door", behind=False), child(fresh_home, "other")
    async with supervise(fresh_home, door, other) as mesh:
        others = [mesh.pids[name] for name in ("postgres", "nats", "other")]
        assert niceness(mesh.pids["door"]) == {ours}
        assert [niceness(pid) for pid in others] == [{min(ours + BEHIND, 19)}] * 3


async def test_children_start_after_the_servers_and_end_before_them(fresh_home):
    """A lower stage is up first and down last; PostgreSQL is the very last."""
    late, early = child(fresh_home, "late", stage=2), child(fresh_home, "early", stage=1)
    async with supervise(fresh_home, late, early):
        pass
    events = logged(fresh_home)
    started = [name for event, name in events if event == "started"]
    stopped = [name for event, name in events if event == "stopped"]
    assert set(started[:2]) == {"postgres", "nats"}
    assert started[2:] == ["early", "late"]
    assert stopped == ["late", "early", "nats", "postgres"]
    assert notes_of(fresh_home, "late") == ["run", "end"]


async def test_a_child_that_crashes_is_started_again(fresh_home):
    """Under a new pid, noted in the log and in the state."""
    async with supervise(fresh_home, child(fresh_home, "one")) as mesh:
        old = mesh.pids["one"]
        mesh.kill("one")
        await eventually(lambda: mesh.pids.get("one") not in (None, old))
        await mesh.wait_healthy(10)
        await eventually(lambda: notes_of(fresh_home, "one") == ["run", "run"])
        await eventually(lambda: read_state(fresh_home)["pids"]["one"] == mesh.pids["one"])
    assert ("exited", "one") in logged(fresh_home)
    assert ("restarted", "one") in logged(fresh_home)


async def test_a_child_that_keeps_crashing_is_started_later_and_later(fresh_home):
    """The pause doubles from crash to crash."""
    async with supervise(fresh_home, child(fresh_home, "one")) as mesh:
        for count in range(2, 5):
            mesh.kill("one")
            await eventually(lambda count=count: len(notes_of(fresh_home, "one")) == count)
    text = (fresh_home / "logs" / "supervisor.log").read_text()
    pauses = [json.loads(line).get("again_in") for line in text.splitlines() if "exited" in line]
    assert pauses == [0.2, 0.4, 0.8]


async def test_postgres_killed_with_all_backends_comes_back_with_its_rows(fresh_home):
    """The same port and data; meanwhile the children live on."""
    async with supervise(fresh_home, child(fresh_home, "one")) as mesh:
        server = mesh._units["postgres"]
        run(server.admin_dsn, "CREATE TABLE t AS SELECT 7 AS n")
        old, one = mesh.pids["postgres"], mesh.pids["one"]
        mesh.kill("postgres")
        await eventually(lambda: mesh.pids.get("postgres") not in (None, old))
        await mesh.wait_healthy(20)
        assert run(server.admin_dsn, "SELECT n FROM t") == [(7,)]
        assert mesh.pids["one"] == one


async def test_nats_that_is_frozen_is_restarted(fresh_home):
    """It runs, and refuses every publish: only its health tells."""
    async with supervise(fresh_home) as mesh:
        old = mesh.pids["nats"]
        shutil.rmtree(fresh_home / "nats" / "store")
        await eventually(lambda: mesh.pids.get("nats") not in (None, old))
        await mesh.wait_healthy(10)
    assert ("frozen", "nats") in logged(fresh_home)


async def test_a_restart_on_request_is_orderly_and_at_once(fresh_home):
    """The child is asked, not killed, and no pause follows."""
    async with supervise(fresh_home, child(fresh_home, "one")) as mesh:
        old = mesh.pids["one"]
        await mesh.restart("one")
        assert mesh.pids["one"] != old
        await eventually(lambda: notes_of(fresh_home, "one") == ["run", "end", "run"])
    assert ("exited", "one") not in logged(fresh_home)


async def test_a_child_that_hears_nothing_is_killed_after_its_grace(fresh_home):
    """Taking down ends, whatever a child does."""
    deaf = child(fresh_home, "deaf", program=DEAF, grace_s=0.2)
    async with supervise(fresh_home, deaf) as mesh:
        pid = mesh.pids["deaf"]
    assert not alive(pid)
    last = [line for line in (fresh_home / "logs" / "supervisor.log").read_text().splitlines()
            if '"stopped"' in line and '"deaf"' in line]  # fmt: skip
    assert json.loads(last[0])["code"] == -signal.SIGKILL


async def test_a_second_supervisor_in_one_home_is_refused(fresh_home):
    """With the pid of the first, which goes on undisturbed."""
    async with supervise(fresh_home, child(fresh_home, "one")) as mesh:
        before = mesh.pids
        with pytest.raises(StartError) as caught:
            await supervise(fresh_home, child(fresh_home, "two")).start()
        assert f"pid {os.getpid()}" in caught.value.why
        assert "tongbao down" in caught.value.next_step
        assert mesh.pids == before
        assert read_state(fresh_home)["pids"] == before


async def test_a_child_that_cannot_start_fails_the_start_with_its_last_words(fresh_home):
    """And nothing is left running or locked."""
    broken = child(fresh_home, "broken", program="raise SystemExit('no such ledger')")
    mesh = supervise(fresh_home, broken)
    with pytest.raises(StartError) as caught:
        await mesh.start()
    assert "no such ledger" in caught.value.why
    assert "broken.log" in caught.value.next_step
    assert mesh.pids == {}
    assert is_running(fresh_home) is None


async def test_a_server_that_cannot_start_takes_the_other_down_again(fresh_home):
    """NATS was started beside a PostgreSQL whose port is taken."""
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        (fresh_home / "tongbao.toml").write_text(f"postgres_port = {port}\n")
        mesh = supervise(fresh_home)
        with pytest.raises(StartError, match=f"127.0.0.1:{port}"):
            await mesh.start()
    assert mesh.pids == {}
    assert is_running(fresh_home) is None


async def test_a_child_finds_its_settings_in_a_file_that_only_we_can_read(fresh_home):
    """The supervisor's own, and on top what is special to the child."""
    one = child(fresh_home, "one", settings={"http_port": 7})
    async with supervise(fresh_home, one) as mesh:
        file = fresh_home / "run" / "one.json"
        assert file.stat().st_mode & 0o777 == 0o600
        told = json.loads(file.read_text())
        assert told["http_port"] == 7
        assert told["socket_dir"] == str(mesh.settings.socket_dir)
        environment = Path(f"/proc/{mesh.pids['one']}/environ").read_text()
        assert f"TONGBAO_SETTINGS={file}" in environment


KILLED = """
import asyncio, sys
from pathlib import Path
from mesh.supervisor import Supervisor
from tests.mesh.servers import SMALL
from tests.mesh.test_supervisor import PROGRAMS, child

async def main(home):
    program = PROGRAMS[sys.argv[2]]
    children = [child(home, "one", program=program)]
    async with Supervisor(home, children=children, options=SMALL):
        await asyncio.Event().wait()

asyncio.run(main(Path(sys.argv[1])))
"""


async def killed(home, program):
    """Run a supervisor in a process of its own, kill it with kill -9, return its last state."""
    root = Path(__file__).parents[2]
    argv = [sys.executable, "-c", KILLED, str(home), program]
    with subprocess.Popen(argv, cwd=root) as process:
        await eventually(lambda: (read_state(home) or {}).get("healthy"))
        state = read_state(home)
        assert state["pid"] == process.pid
        assert all(alive(pid) for pid in state["pids"].values())
        process.kill()
    assert is_running(home) is None
    return state


async def test_a_supervisor_killed_with_kill_9_leaves_no_children(fresh_home):
    """The kernel tells them; the next supervisor finds home free and the data whole."""
    state = await killed(fresh_home, "lives")
    await eventually(lambda: not [pid for pid in state["pids"].values() if alive(pid)])
    await eventually(lambda: not list(workers(fresh_home / "postgres" / "data")))
    assert notes_of(fresh_home, "one") == ["run", "end"]
    async with supervise(fresh_home, child(fresh_home, "one")) as mesh:
        assert run(mesh._units["postgres"].admin_dsn, "SELECT 1") == [(1,)]
        assert mesh.ports == state["ports"]


async def test_a_child_that_outlives_its_killed_supervisor_is_ended_by_the_next(
    fresh_home, monkeypatch
):
    """It hears no request to end; two of one service must not run."""
    monkeypatch.setattr(end_leftovers, "__kwdefaults__", {"grace": 0.5})
    state = await killed(fresh_home, "deaf")
    deaf = state["pids"]["one"]
    await eventually(lambda: not alive(state["pids"]["postgres"]))
    assert alive(deaf)
    async with supervise(fresh_home, child(fresh_home, "one")):
        assert not alive(deaf)
    assert ("killed", "leftover") in logged(fresh_home)


async def test_an_external_postgres_is_prepared_and_left_running(fresh_home):
    """With TONGBAO_POSTGRES_DSN there is no embedded one; no child learns that DSN."""
    other = Path(tempfile.mkdtemp(prefix="tongbao-ext-"))
    other.chmod(0o711)
    async with supervise(other) as server:
        dsn = server._units["postgres"].admin_dsn
        (fresh_home / "tongbao.toml").write_text(f"postgres_dsn = {json.dumps(dsn)}\n")
        async with supervise(fresh_home, child(fresh_home, "one")) as mesh:
            assert set(mesh.pids) == {"nats", "one"}
            assert not mesh.settings.egress_allow_private
            password = conninfo_to_dict(dsn)["password"]
            assert password not in (fresh_home / "run" / "one.json").read_text()
        assert run(dsn, "SELECT count(*) FROM pg_database WHERE datname = 'tongbao'") == [(1,)]
    with pytest.raises(psycopg.OperationalError):
        run(dsn, "SELECT 1")
    shutil.rmtree(other)
