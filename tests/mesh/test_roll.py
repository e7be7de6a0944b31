"""Every service is replaced while it is used, and nobody notices."""

import asyncio
import json

import pytest

from bench.roll import play_roll, roll_world
from mesh.config import load, services
from mesh.embedded.places import StartError
from mesh.supervisor import Supervisor, read_state
from mesh.supervisor.children import settings_file
from mesh.supervisor.control import ask
from tests.mesh.platform import complaints
from tongbao.ledger.v1 import ledger_ops_service_pb2 as ledger_pb

# Connections are asked to move after a second, not after half a minute.
SECONDS = 1
CALLS = 1_000


@pytest.fixture
async def world(fresh_home):
    """A platform with apps and filled wallets."""
    settings = load(home=fresh_home, connection_seconds=SECONDS)
    async with roll_world(settings, lambda _: None) as opened:
        yield opened


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_all_services_are_replaced_under_load_and_no_call_fails(world):
    """Unary, batches, reads, callbacks, webhooks, and the streams between services: zero.

    Then a program that cannot start takes nobody's place.
    """
    stage, bench_world, inbox = world
    before = await pids(stage)
    told = await play_roll(stage, bench_world, inbox, calls=CALLS, in_flight=2, say=lambda _: None)
    assert told["errors"] == {}, complaints(stage.settings.home)
    assert told["failed"] == 0
    assert told["problems"] == []
    assert told["calls"] >= CALLS
    assert set(told["by_kind"]) == {"wallet", "qr", "batch", "stream", "read", "callback"}
    after = await pids(stage)
    assert {name for name in before if before[name] != after[name]} == set(services())

    file = settings_file(stage.settings.home, "risk")
    file.write_text(json.dumps(json.loads(file.read_text()) | {"rows_max": 0}))
    with pytest.raises(StartError, match="risk did not start"):
        await rolled(stage, "risk")
    assert await pids(stage) == after
    await stage.operator.ask(
        stage.doors.ledger_ops.GetTrialBalance, ledger_pb.GetTrialBalanceRequest()
    )


async def rolled(stage, *names):
    """Roll `names`; return what the supervisor told."""
    asked = ask(stage.settings.socket_dir, {"verb": "roll", "names": list(names)})
    return [told async for told in asked]


async def pids(stage):
    """The pids of the services, as the state file says."""
    state = await asyncio.to_thread(read_state, stage.settings.home)
    return {name: state["pids"][name] for name in services()}


@pytest.mark.parametrize("name", ["postgres", "sim", "nobody"])
async def test_only_services_can_be_replaced(fresh_home, name):
    """What has no successor that could listen beside it is refused, and told who can be."""
    async with Supervisor(settings=load(home=fresh_home), children=[]) as mesh:
        with pytest.raises(StartError, match=f"cannot replace {name}"):
            await mesh.roll(name)
