"""The whole platform for a test: every process for real, driven and judged as the demo does."""

import asyncio
import json
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from operator import itemgetter

from checker.rules import ALL
from checker.verdict import judge
from demo.collect import Collector
from demo.drain import drain
from demo.drive import Driver, Tally
from demo.history import History
from demo.journal import Journal
from demo.plan import plan
from demo.receiver import Receiver
from demo.stage import Stage, open_stage
from demo.world import World, make_world, open_world
from mesh.config import load
from mesh.embedded.places import Ports
from mesh.supervisor import Supervisor

SMALL = {"shared_buffers": "128MB", "max_wal_size": "1GB"}
DRAIN_S = 100.0


@dataclass(frozen=True, kw_only=True)
class Platform:
    """What a test has of it."""

    mesh: Supervisor
    stage: Stage
    world: World
    history: History
    receiver: Receiver

    async def drive(self, orders, *, seed, driver=Driver):
        """Drive as many orders of every story; return what failed as a call."""
        self.world.runs += 1
        driving = self._driver(driver)
        await driving.drive(plan(orders, seed=seed, run=self.world.runs), self.stage.simulator)
        return driving.tally

    async def close_left(self):
        """Close what a driver that was broken off meant to close."""
        await self._driver().close_left()

    def _driver(self, kind=Driver):
        return kind(self.stage.doors, self.world, self.history, tally=Tally())

    async def verdicts(self):
        """Wait until all is quiet; return what the checker says, a line each."""
        collector = Collector(self.stage, self.world)
        calls = self.history.calls()
        fresh = {call.trace_no for call in calls}
        left = await drain(collector, calls, fresh=fresh, within=DRAIN_S)
        assert left == [], left
        evidence = await collector.evidence(self.history, self.receiver)
        return [line for verdict in judge(ALL, evidence) for line in verdict.lines()]


@asynccontextmanager
async def open_platform(home):
    """Bring everything up in `home`, with the demo's world in it; take it down afterwards."""
    settings = load(home=home)
    async with AsyncExitStack() as stack:
        mesh = await stack.enter_async_context(Supervisor(settings=settings, options=SMALL))
        stage = await stack.enter_async_context(open_stage(settings, lambda event: None))
        world = open_world(home, webhook_port=Ports(home).port("webhooks"))
        journal = Journal(world.folder / "webhooks.jsonl")
        stack.callback(journal.close)
        receiver = Receiver(journal, port=world.webhook_port, secrets=world.webhook_secrets())
        await stack.enter_async_context(receiver)
        await make_world(world, stage.doors, stage.operator, stage.acquirers)
        receiver.secrets.update({name: app.webhook_secret for name, app in world.apps.items()})
        history = History(world.folder / "history.jsonl")
        stack.callback(history.close)
        yield Platform(mesh=mesh, stage=stage, world=world, history=history, receiver=receiver)


def complaints(home):
    """Return what all processes have logged as a warning or worse, by time: why a test failed."""
    lines = [json.loads(line) for file in (home / "logs").glob("*.log")
             for line in file.read_text().splitlines() if line.startswith("{")]  # fmt: skip
    loud = [line for line in lines if line.get("level") in ("warning", "error", "critical")]
    return "\n".join(json.dumps(line) for line in sorted(loud, key=itemgetter("time")))


async def settled(calls):
    """Return how many of the tasks `calls` have ended, after the loop has come round."""
    await asyncio.sleep(0)
    return sum(call.done() for call in calls)
