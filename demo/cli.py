"""`tongbao demo`: everything up, a small world, real orders, every fault, and the verdict."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import asdict, dataclass
from time import monotonic
from typing import Annotated, Any

import aiohttp
from cyclopts import Parameter

from checker.history import Damaged
from checker.rules import ALL
from checker.verdict import Verdict, judge
from demo.board import Teller
from demo.client import CallFailed
from demo.collect import Collector
from demo.drain import drain
from demo.drive import Driver, Tally
from demo.history import History
from demo.journal import Journal
from demo.plan import plan
from demo.receiver import Receiver
from demo.snippets import Example, lines
from demo.stage import Stage, open_stage
from demo.world import World, make_world, open_world
from mesh.cli.output import AsJson, Home
from mesh.config import Settings, load
from mesh.embedded.places import Ports, StartError, make_home
from mesh.supervisor import Event, read_state

_REFUSED_MAX = 2  # Webhooks that are refused at first: the ladder's first rung takes 15 s.


def demo(
    *,
    orders: int = 130,
    seed: int = 1,
    exit_after_check: Annotated[bool, Parameter(negative=())] = False,
    home: Home = None,
    as_json: AsJson = False,
) -> int:
    """Start all, drive real orders with every fault through it, and check the books.

    What runs in the home already is used and left running. Otherwise everything is started,
    and stays up after the check until Ctrl-C, to be looked at. May be run again and again on
    one home: the checker judges the orders of all runs. Exit codes: 0 all rules hold; 1 one
    does not, or something did not start.

    Parameters
    ----------
    orders
        How many orders to drive; with 70 or more every story is among them.
    seed
        What the orders follow from.
    exit_after_check
        Stop what was started as soon as the verdict is there.
    home
        Where data, keys and logs are kept. Default: .tongbao, or TONGBAO_HOME.
    as_json
        Write one JSON document to stdout at the end; progress goes to stderr.
    """
    wish = _Wish(orders=max(orders, 1), seed=seed, stays=not exit_after_check, as_json=as_json)
    try:
        return asyncio.run(_play(load(home=home), wish))
    except asyncio.CancelledError:  # SIGTERM.
        raise KeyboardInterrupt from None
    except (CallFailed, aiohttp.ClientError, Damaged, OSError) as error:
        raise StartError(
            "the demo broke off",
            why=str(error) or repr(error),
            next_step="Read <home>/logs, then run it again: what was begun is in the history",
        ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    orders: int
    seed: int
    stays: bool
    as_json: bool


async def _play(settings: Settings, wish: _Wish) -> int:
    began = monotonic()
    _end_at_sigterm()
    teller = Teller(as_json=wish.as_json)
    make_home(settings.home)
    async with AsyncExitStack() as stack:
        stage = await stack.enter_async_context(open_stage(settings, _telling(teller)))
        up_s = monotonic() - began
        world, receiver = await _prepare(stack, stage, refuse=min(wish.orders // 50, _REFUSED_MAX))
        history = History(world.folder / "history.jsonl")
        stack.callback(history.close)
        teller.say("the world is there: " + _world_line(world))
        tally = Tally(began=began)
        left = await _drive(stage, world, history, receiver, wish=wish, tally=tally, teller=teller)
        verdicts = await _verdict(stage, world, history, receiver)
        told = {
            "ok": not left and all(verdict.holds for verdict in verdicts),
            "home": str(settings.home),
            "up_s": round(up_s, 2),
            "first_payment_s": tally.first_payment_s and round(tally.first_payment_s, 2),
            "demo_s": round(monotonic() - began, 2),
            "orders": {story: dict(states) for story, states in sorted(tally.by_story().items())},
            "refunds": dict(tally.refunds),
            "webhooks": receiver.came,
            "failures": tally.failures,
            "left_open": left,
            "checker": [_as_dict(verdict) for verdict in verdicts],
        }
        _report(told, verdicts, wish=wish, teller=teller)
        if wish.stays and stage.started_here:
            await _stay(stage, world, history, teller)
    return 0 if told["ok"] else 1


async def _prepare(stack: AsyncExitStack, stage: Stage, *, refuse: int) -> tuple[World, Receiver]:
    """Make the world and open the receiver of its webhooks, which refuses the first of them."""
    home = stage.settings.home
    world = open_world(home, webhook_port=0)
    if not world.webhook_port:
        world.webhook_port = Ports(home).port("webhooks")
    world.runs += 1
    world.save()
    journal = Journal(world.folder / "webhooks.jsonl")
    stack.callback(journal.close)
    # What an earlier run left behind may come at once, so its secrets are needed from the start.
    receiver = Receiver(
        journal, port=world.webhook_port, secrets=world.webhook_secrets(), refuse=refuse
    )
    await stack.enter_async_context(receiver)
    await make_world(world, stage.doors, stage.operator, stage.acquirers)
    receiver.secrets.update(world.webhook_secrets())
    return world, receiver


async def _drive(
    stage: Stage,
    world: World,
    history: History,
    receiver: Receiver,
    *,
    wish: _Wish,
    tally: Tally,
    teller: Teller,
) -> list[str]:
    """Drive all orders, wait until all is quiet, and return what is still open."""
    driver = Driver(stage.doors, world, history, tally=tally)
    async with teller.board(tally, lambda: receiver.came):
        wanted = plan(wish.orders, seed=wish.seed + world.runs, run=world.runs)
        await driver.drive(wanted, stage.simulator)
    teller.say("all orders are through; waiting until nothing moves any more")
    fresh = {order.trace_no for order in wanted}
    left = await drain(Collector(stage, world), history.calls(), fresh=fresh)
    for what in left:
        teller.say(f"still open: {what}")
    return left


async def _verdict(
    stage: Stage, world: World, history: History, receiver: Receiver
) -> list[Verdict]:
    return judge(ALL, await Collector(stage, world).evidence(history, receiver))


def _report(
    told: Mapping[str, Any], verdicts: Sequence[Verdict], *, wish: _Wish, teller: Teller
) -> None:
    first = told["first_payment_s"]
    teller.say(f"first payment after {first} s, all after {told['demo_s']} s")
    for verdict in verdicts:
        for line in verdict.lines():
            teller.write(line)
    for what in told["failures"]:
        teller.write(f"      call failed: {what}")
    if wish.as_json:
        sys.stdout.write(json.dumps(told, ensure_ascii=False) + "\n")
        sys.stdout.flush()


async def _stay(stage: Stage, world: World, history: History, teller: Teller) -> None:
    """Show what to try, and keep everything up until Ctrl-C."""
    settings, last = stage.settings, history.calls()[-1]
    app = world.apps[last.app]
    example = Example(
        app=last.app,
        product_code=app.collect,
        merchant_id=next(iter(app.merchants.values())),
        trace_no=last.trace_no,
    )
    state = read_state(settings.home) or stage.state
    teller.write("")
    for line in lines(
        home=settings.home,
        ca=settings.tls_ca,
        host=settings.public_host,
        state=state,
        example=example,
    ):
        teller.write(line)
    teller.write("\nAll is up. Ctrl-C stops it.")
    with suppress(asyncio.CancelledError):  # That is how Ctrl-C and SIGTERM arrive here.
        await asyncio.Event().wait()


def _as_dict(verdict: Verdict) -> dict[str, Any]:
    return {**asdict(verdict), "holds": verdict.holds}


def _world_line(world: World) -> str:
    merchants = sum(len(app.merchants) for app in world.apps.values())
    return f"{len(world.apps)} business lines, {merchants} merchants, run {world.runs}"


def _telling(teller: Teller) -> Any:
    """Return what writes the supervisor's events as lines."""

    def tell(event: Event) -> None:
        seconds = event.facts.get("seconds")
        teller.say(f"{event.name} {event.what}" + (f" in {seconds} s" if seconds else ""))

    return tell


def _end_at_sigterm() -> None:
    """Take SIGTERM like Ctrl-C: what was started is stopped in order."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
