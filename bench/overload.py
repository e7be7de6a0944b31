"""More than it can do: the peak by a closed loop, then three times as much by an open one.

What is measured: how much of the peak is still paid, how fast the others are told no, and that
nothing which was taken is lost. Callers do not come back; the real ones wait as long as they
are told to.
"""

from __future__ import annotations

import asyncio
import math
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

from bench.drained import check_books, drain, problems
from bench.figures import Done, percentile_ms, rate
from bench.inbox import Inbox
from bench.load import Send, Sender, Shape, run
from bench.play import admin_of, remove
from bench.report import machine
from bench.world import make_bench_world
from demo.stage import Stage, open_stage
from mesh.cli.output import table
from mesh.config import Settings
from mesh.embedded.places import Ports, make_home

REFUSED = "RESOURCE_EXHAUSTED"  # Definite: nothing was done.
_TICK_S = 0.01
WARM_UP_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """How hard: the load that finds the peak, then for how long how many times as much."""

    shape: Shape
    seconds: float
    times: float


async def overload(settings: Settings, push: Push, *, say: Callable[[str], None]) -> dict[str, Any]:
    """Return what became of `push.times` the peak, in a new installation that is gone after.

    Raises StartError.
    """
    shape = push.shape
    make_home(settings.home)
    try:
        async with (
            Inbox(Ports(settings.home).port("webhooks")) as inbox,
            open_stage(settings, lambda _: None) as stage,
        ):
            say("making apps, merchants and wallets")
            world = await make_bench_world(stage, webhook_url=inbox.url, what=shape.what)
            sender = Sender(world, shape, prefix=f"b{uuid.uuid4().hex[:8]}", inbox=inbox)
            say(f"the peak: {shape.in_flight} in flight for {shape.seconds:g} s")
            done, begin, end = await run(sender.send(), shape)
            peak = rate(done, begin=begin, end=end)
            offered = push.times * peak
            say(f"the push: {offered:.0f} a second for {push.seconds:g} s")
            each = shape.pack if shape.form == "batch" else 1
            pushed, begin, end = await open_loop(
                sender.send(), offered / each, seconds=push.seconds
            )
            told = figures(pushed, begin=begin, end=end, peak=peak)
            return told | {
                "machine": machine(),
                "problems": await _lost(stage, sender.prefix, [*done, *pushed]),
            }
    finally:
        remove(settings)


async def open_loop(
    send: Send, per_second: float, *, seconds: float
) -> tuple[list[Done], float, float]:
    """Begin so many calls a second, whatever becomes of those before.

    Returns every call, and when the first and the last were begun.
    """
    calls: list[asyncio.Future[Done]] = []
    begin = monotonic()
    while (elapsed := monotonic() - begin) < seconds:
        due = math.ceil(elapsed * per_second)
        calls += [asyncio.ensure_future(send()) for _ in range(due - len(calls))]
        await asyncio.sleep(_TICK_S)
    return list(await asyncio.gather(*calls)), begin, begin + seconds


def figures(pushed: Sequence[Done], *, begin: float, end: float, peak: float) -> dict[str, Any]:
    """Return the goodput and how fast the others were told no."""
    goodput = rate(pushed, begin=begin, end=end)
    answered = Counter(error for one in pushed for error in one.errors)
    answered["PAID"] = sum(one.paid for one in pushed)
    waits = sorted(one.ended - one.began for one in pushed if REFUSED in one.errors)
    return {
        "peak_per_s": round(peak, 1),
        "offered_per_s": round(answered.total() / (end - begin), 1),
        "goodput_per_s": round(goodput, 1),
        "goodput_ratio": round(goodput / peak, 3) if peak else 0.0,
        "paid_p50_ms": round(percentile_ms(pushed, 0.5, begin=begin, end=math.inf), 1),
        "paid_p99_ms": round(percentile_ms(pushed, 0.99, begin=begin, end=math.inf), 1),
        "reject_p50_ms": round(_rank(waits, 0.5) * 1000, 1),
        "reject_p99_ms": round(_rank(waits, 0.99) * 1000, 1),
        "answers": dict(sorted(answered.items())),
    }


def text(result: dict[str, Any]) -> str:
    """Return the result for people."""
    names = [name for name in result if name not in ("machine", "problems", "answers")]
    rows = [[name.replace("_", " "), str(result[name])] for name in names]
    rows += [[name, str(count)] for name, count in result["answers"].items()]
    return "\n".join([table(rows), *(f"WRONG: {what}" for what in result["problems"])])


async def _lost(stage: Stage, prefix: str, done: Sequence[Done]) -> list[str]:
    """Return what does not fit between what callers were told and what is in the books."""
    counts, _ = await drain(admin_of(stage), prefix=prefix)
    in_doubt = sum(error != REFUSED for one in done for error in one.errors)
    told = sum(one.paid for one in done)
    return problems(counts, told=told, in_doubt=in_doubt) + await check_books(stage)


def _rank(waits: Sequence[float], share: float) -> float:
    """Return the nearest rank of sorted `waits`; 0 when there are none."""
    return waits[math.ceil(share * len(waits)) - 1] if waits else 0.0
