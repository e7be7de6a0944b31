"""Everything may be killed at any moment, and the books are right afterwards."""

import asyncio
import random
import signal

from demo.drive import Driver
from demo.plan import WAITING
from tests.mesh.platform import open_platform
from tests.waiting import eventually

SEED = 20261122
ORDERS = 130
VICTIMS = (
    "payment", "postgres", "channel", "nats", "trade", "ledger", "sim", "risk", "settlement",
)  # fmt: skip


async def test_every_process_is_killed_under_load_and_nothing_is_lost(fresh_home):
    """kill -9 of each process in turn at seeded moments; then every rule of the checker holds.

    The moments are numbers of calls that the demo has written down, so the same seed kills
    at the same places of the work, whatever the machine's speed.
    """
    rnd = random.Random(SEED)
    async with open_platform(fresh_home) as platform:
        driving = asyncio.create_task(platform.drive(ORDERS, seed=SEED))
        moments = sorted(rnd.sample(range(5, 60), len(VICTIMS)))
        victims = rnd.sample(VICTIMS, len(VICTIMS))
        killed = []
        for calls, victim in zip(moments, victims, strict=True):
            await eventually(lambda calls=calls: len(platform.history.calls()) >= calls)
            platform.mesh.kill(victim, signal.SIGKILL)
            killed.append(victim)
            await platform.mesh.wait_healthy()
        await driving
        lines = await platform.verdicts()

    assert sorted(killed) == sorted(VICTIMS)
    assert [line for line in lines if not line.startswith("PASS")] == []


async def test_killed_as_a_whole_it_goes_on_where_it_was(fresh_home):
    """Every process at once in mid-work, a cold start on the same data, the same orders judged."""
    async with open_platform(fresh_home) as platform:
        driving = asyncio.create_task(platform.drive(70, seed=SEED, driver=Unfinished))
        await eventually(lambda: in_mid_work(platform.history.calls()))
        for name in platform.mesh.pids:
            platform.mesh.kill(name, signal.SIGKILL)
        driving.cancel()
        await asyncio.wait([driving])
    async with open_platform(fresh_home) as platform:
        await platform.close_left()
        lines = await platform.verdicts()

    assert [line for line in lines if not line.startswith("PASS")] == []


class Unfinished(Driver):
    """Somebody who means to close orders, and is broken off before that."""

    async def _close(self, order):
        await asyncio.Event().wait()


def in_mid_work(calls):
    """Whether much was begun, and an order that waits to be closed is among it."""
    return len(calls) >= 30 and any(call.story in WAITING and call.was_done for call in calls)
