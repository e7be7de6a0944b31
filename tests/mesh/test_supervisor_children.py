"""The table of children, and how a service says that it is ready."""

import json
import re
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from mesh.config import load
from mesh.embedded.places import make_home
from mesh.supervisor import Program, is_running, standard_children
from mesh.supervisor.children import ACQUIRERS, listens, serves, settings_file, write_settings
from tests.mesh.test_supervisor import notes_of
from tests.waiting import eventually

SERVICES = ("ledger", "payment", "trade")
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture
def table(tmp_path):
    """Return a function that gives the standard table of some settings, by name."""
    make_home(tmp_path)

    def of(**settings):
        children = standard_children(load(home=tmp_path, **settings), SERVICES)
        return {child.name: child for child in children}

    of.home = tmp_path
    return of


def test_each_service_is_a_process_of_the_one_runner(table):
    """All the same but for the name; the simulator is up before them."""
    children = table()
    for service in SERVICES:
        assert list(children[service].argv[1:]) == ["-m", "mesh.serve", service]
        assert children[service].settings["service"] == service
        assert children[service].stage > children["sim"].stage


def test_all_children_are_told_the_same_addresses_and_they_are_remembered(table):
    """A neighbour's port is the same for everyone, today and tomorrow."""
    first, second = table(), table()
    told = [child.settings for child in first.values() if child.settings]
    for key in ("public_ports", "http_port", "http_url", "sim_url"):
        assert all(one[key] == told[0][key] for one in told), key
    ports = told[0]["public_ports"]
    assert set(ports) == set(SERVICES)
    others = [told[0]["http_port"], *first["sim"].ports.values()]
    assert len({*ports.values(), *others}) == len(SERVICES) + len(others)
    assert second["trade"].settings == first["trade"].settings


async def test_the_simulator_runs_with_what_it_is_given(table):
    """Every acquirer listens, with a secret that only we can read, and its state is kept."""
    settings, child = load(home=table.home), table()["sim"]
    write_settings(settings, child, {})
    program = Program(child, table.home)
    await program.start()
    try:
        for port in child.ports.values():
            await eventually(partial(listens, port))
    finally:
        await program.stop()
    assert program.process.returncode == 0, program.process.said()
    keys = table.home / "secrets" / "sim.json"
    assert keys.stat().st_mode & 0o777 == 0o600
    before = keys.read_text()
    assert set(json.loads(before)) == {"control", *ACQUIRERS}
    table()
    assert keys.read_text() == before


def test_ports_that_were_set_are_used(table):
    """And each process has a metrics port of its own."""
    children = table(public_ports={"trade": 19443}, http_port=19080, metrics_port=19100)
    settings = children["trade"].settings
    assert settings["public_ports"]["trade"] == 19443
    assert settings["http_url"] == "http://127.0.0.1:19080"
    assert {children[service].settings["metrics_port"] for service in SERVICES} == {
        19100,
        19101,
        19102,
    }


def test_a_simulator_somewhere_else_is_not_started_here(table):
    """Its address is handed on."""
    children = table(sim_url="http://sim.example")
    assert set(children) - {"edge"} == set(SERVICES)


def test_a_service_reads_back_what_was_written_for_it(table, tmp_path, monkeypatch):
    """Its own DSN, key and ports; nothing of the administrator's."""
    settings = load(home=tmp_path, postgres_dsn="host=db password=geheim", rows_max=7)
    child = table()["payment"]
    write_settings(settings, child, {"database_dsn": "user=payment", "nats_url": "nats://x"})
    monkeypatch.setenv("TONGBAO_SETTINGS", str(settings_file(tmp_path, "payment")))
    told = load("payment")
    assert told.postgres_dsn is None
    assert (told.database_dsn, told.nats_url) == ("user=payment", "nats://x")
    assert told.key_file == tmp_path / "keys" / "payment.key"
    assert (told.rows_max, told.egress_allow_private) == (7, False)
    assert told.public_ports == child.settings["public_ports"]
    assert told.socket_dir == settings.socket_dir


async def test_a_service_is_ready_when_its_health_says_so(tmp_path):
    """No socket, no server behind it, not serving: not ready; serving: ready."""
    socket = tmp_path / "payment.sock"
    assert not await serves(socket)
    server, servicer = grpc.aio.server(), health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    await servicer.set("", NOT_SERVING)
    assert not await serves(socket)
    await servicer.set("", SERVING)
    assert await serves(socket)
    await server.stop(None)
    assert not await serves(socket)


async def test_a_port_is_ready_when_somebody_listens():
    """Port 1 is nobody's."""
    assert not await listens(1)


FOREGROUND = """
import asyncio, sys
from pathlib import Path
from mesh.cli.up import _Teller, _stay
from mesh.supervisor import Supervisor
from tests.mesh.servers import SMALL
from tests.mesh.test_supervisor import DEAF, child

home = Path(sys.argv[1])
children = [child(home, "one", stage=2), child(home, "deaf", program=DEAF, grace_s=1)]
asyncio.run(_stay(Supervisor(home, children=children, options=SMALL, tell=_Teller(False)),
                  as_json=False))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_in_the_foreground_a_signal_ends_everything_in_order(fresh_home, number):
    """Exit code 0; what happened is on the screen; a second Ctrl-C changes nothing."""
    root = Path(__file__).parents[2]
    screen = fresh_home / "screen.txt"
    with (
        screen.open("w") as file,
        subprocess.Popen(
            [sys.executable, "-c", FOREGROUND, str(fresh_home)], cwd=root, stdout=file, stderr=file
        ) as process,
    ):
        await eventually(lambda: "All is up" in screen.read_text() or process.poll() is not None)
        assert is_running(fresh_home) == process.pid
        process.send_signal(number)
        await eventually(lambda: re.search(r"one +stopped", screen.read_text()))
        process.send_signal(number)
        await eventually(lambda: process.poll() is not None)
        assert process.returncode == 0, screen.read_text()
    assert is_running(fresh_home) is None
    assert notes_of(fresh_home, "one") == ["run", "end"]
    said = [line.split()[1:3] for line in screen.read_text().splitlines() if "  " in line]
    assert ["one", "started"] in said
    assert said[-1] == ["postgres", "stopped"]


async def test_a_signal_while_starting_ends_what_was_started(fresh_home):
    """Nothing is left, whenever it comes."""
    root = Path(__file__).parents[2]
    log = fresh_home / "logs" / "supervisor.log"
    with subprocess.Popen(
        [sys.executable, "-c", FOREGROUND, str(fresh_home)], cwd=root, stdout=subprocess.DEVNULL
    ) as process:
        await eventually(lambda: log.exists() and '"nats"' in log.read_text())
        process.send_signal(signal.SIGINT)
        await eventually(lambda: process.poll() is not None)
        assert process.returncode == 0
    assert is_running(fresh_home) is None
    assert not list((fresh_home / "run").glob("state.json"))
