"""One bench from an empty home to a result: load, drain, count, references."""

from __future__ import annotations

import asyncio
import json
import shutil
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bench.drained import check_books, drain, problems
from bench.figures import Done, cpu_each, each, errors, others, percentile_ms, rate
from bench.fill import fill
from bench.flames import missing, record
from bench.inbox import Inbox
from bench.load import Sender, Shape, run
from bench.meters import IDLE_S, STATS_S, Meters, admin_dsn, machine_us
from bench.references import pgbench
from bench.report import fdatasync_us, machine, server_version
from bench.world import BenchWorld, make_bench_world
from demo.stage import Stage, open_stage
from mesh.config import Settings, load, services
from mesh.embedded.places import Ports, make_home
from mesh.embedded.postgres import Postgres
from mesh.supervisor import Event

CAP1_S, CAP1_WARM_UP_S, CAP1_IN_FLIGHT = 6.0, 2.0, 256
FIRST = "first"  # Begins the number of the order that the earlier ones are copies of.
_REFUSED = frozenset({"BALANCE_NOT_ENOUGH", "LIMIT_EXCEEDED", "DENY_LIST"})

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _Loaded:
    """What one load brought: payments a second, how many in all, and the rest."""

    payments_per_s: float
    paid: int
    result: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What belongs to a bench beside its shape.

    `runs` are made one after the other and the median counts. `fill` are earlier orders.
    `flames` is where flame graphs of the first run go; None: none are made.
    """

    runs: int = 1
    references: bool = True
    fill: int = 0
    flames: Path | None = None


async def play(settings: Settings, shape: Shape, plan: Plan, *, say: Say) -> dict[str, Any]:
    """Return the result of one bench in a new installation in `settings.home`.

    The installation is gone afterwards. Raises StartError.
    """
    references = plan.references
    told: dict[str, Any] = {"run": asdict(shape), "machine": machine(), "references": {}}
    make_home(settings.home)
    told["machine"]["fdatasync_us"] = fdatasync_us(settings.home)
    tps = 0.0
    try:
        async with Inbox(Ports(settings.home).port("webhooks")) as inbox:
            async with _stage(settings, say) as stage:
                world = await _world(stage, inbox, shape, plan, told, say)
                main = await _runs(stage, world, shape, plan, inbox, say)
                told |= main.result
                if references:
                    say("pgbench on the same server")
                    tps = await pgbench(settings, admin_of(stage))
            if references:
                say("the same again, one row a statement")
                cap1 = await _cap1(settings, world, shape, inbox, say)
                told["references"] = {
                    "pgbench_tpcb_per_s": round(tps, 1),
                    "cap1_payments_per_s": cap1.payments_per_s,
                    "times_cap1": round(main.payments_per_s / max(cap1.payments_per_s, 0.1), 2),
                }
                told["problems"] += cap1.result["problems"]
        return told
    finally:
        remove(settings)


async def play_levels(
    settings: Settings, shapes: Sequence[Shape], plan: Plan, *, say: Say
) -> dict[str, Any]:
    """Return the results of several shapes of one kind of payment, in one installation.

    It is gone afterwards. Raises StartError.
    """
    told: dict[str, Any] = {"run": asdict(shapes[0]), "machine": machine()}
    make_home(settings.home)
    told["machine"]["fdatasync_us"] = fdatasync_us(settings.home)
    try:
        async with (
            Inbox(Ports(settings.home).port("webhooks")) as inbox,
            _stage(settings, say) as stage,
        ):
            world = await _world(stage, inbox, shapes[0], plan, told, say)
            levels = []
            for shape in shapes:
                level = await _runs(stage, world, shape, plan, inbox, say)
                levels.append({"in_flight": shape.in_flight} | level.result)
    finally:
        remove(settings)
    told["levels"] = levels
    told["problems"] = [problem for level in levels for problem in level["problems"]]
    return told


async def _world(
    stage: Stage, inbox: Inbox, shape: Shape, plan: Plan, told: dict[str, Any], say: Say
) -> BenchWorld:
    """Make what is paid with, and the earlier orders."""
    say("making apps, merchants and wallets")
    world = await make_bench_world(stage, webhook_url=inbox.url, what=shape.what)
    told["machine"]["postgres"] = await server_version(admin_of(stage))
    if plan.fill:
        say(f"making {plan.fill} earlier orders")
        one = replace(shape, form="unary", in_flight=1, seconds=0.01, warm_up=0)
        sender = Sender(world, one, prefix=FIRST, inbox=inbox)
        await run(sender.send(), one)
        await drain(admin_of(stage), prefix=FIRST)
        told["fill"] = await fill(admin_of(stage), order_no=f"{FIRST}-1", copies=plan.fill)
    return world


async def _runs(
    stage: Stage, world: BenchWorld, shape: Shape, plan: Plan, inbox: Inbox, say: Say
) -> _Loaded:
    """Return the run with the median of payments a second, and what all of them brought."""
    flames = None
    if plan.flames is not None:
        flames = asyncio.create_task(_flames(stage, shape, plan.flames, say))
    runs = [await _measure(stage, world, shape, inbox, say) for _ in range(plan.runs)]
    if flames is not None:
        await flames
    middle = sorted(runs, key=lambda one: one.payments_per_s)[len(runs) // 2]
    every = {
        "runs": [one.payments_per_s for one in runs],
        "problems": [problem for one in runs for problem in one.result["problems"]],
    }
    return replace(middle, result=middle.result | every)


async def _flames(stage: Stage, shape: Shape, folder: Path, say: Say) -> None:
    """Make the flame graphs from the middle of the first run on."""
    if problem := missing():
        say(problem)
        return
    await asyncio.sleep(STATS_S + IDLE_S + shape.warm_up)
    for problem in await record(folder / str(shape.in_flight), stage.state["pids"]):
        say(f"no flame graph of {problem}")


async def _cap1(
    settings: Settings, world: BenchWorld, shape: Shape, inbox: Inbox, say: Say
) -> _Loaded:
    """Return what unary clients get when every statement takes one row."""
    plain = replace(
        shape, form="unary", in_flight=CAP1_IN_FLIGHT, seconds=CAP1_S, warm_up=CAP1_WARM_UP_S
    )
    one_row = load(home=settings.home, rows_max=1, metrics_port=settings.metrics_port)
    async with _stage(one_row, say) as stage:
        world.trade = stage.doors.trade
        return await _load(stage, world, plain, inbox, say)


async def _measure(
    stage: Stage, world: BenchWorld, shape: Shape, inbox: Inbox, say: Say
) -> _Loaded:
    """Load, and add what a payment cost, from the first call to the last event."""
    meters = _meters(stage)
    before, idle = await meters.counts(), await meters.idle_commits()
    cpu_before, machine_before = meters.cpu(), machine_us()
    loaded = await _load(stage, world, shape, inbox, say)
    cpu_after, machine_after = meters.cpu(), machine_us()
    ours_us = sum(cpu_after.values()) - sum(cpu_before.values())
    after, paid = await meters.counts(), max(loaded.paid, 1)
    costs = {
        "cpu_us_per_payment": cpu_each(cpu_before, cpu_after, paid),
        "not_ours": others(machine_before, machine_after, ours_us),
    }
    written = each(before, after, paid, idle_commits=idle)
    return replace(loaded, result=loaded.result | costs | written)


async def _load(stage: Stage, world: BenchWorld, shape: Shape, inbox: Inbox, say: Say) -> _Loaded:
    """Keep the load up, drain and count."""
    prefix = f"b{uuid.uuid4().hex[:8]}"
    sender = Sender(world, shape, prefix=prefix, inbox=inbox)
    say(f"{shape.in_flight} in flight for {shape.warm_up:g} + {shape.seconds:g} s")
    done, begin, end = await run(sender.send(), shape)
    counts, drain_s = await drain(admin_of(stage), prefix=prefix)
    wrong = problems(counts, told=sum(one.paid for one in done), in_doubt=_in_doubt(done))
    per_s = round(rate(done, begin=begin, end=end), 1)
    result = {
        "payments_per_s": per_s,
        "p50_ms": round(percentile_ms(done, 0.50, begin=begin, end=end), 1),
        "p99_ms": round(percentile_ms(done, 0.99, begin=begin, end=end), 1),
        "counted": counts,
        "drain_s": round(drain_s, 2),
        "errors": errors(done),
        "problems": wrong + await check_books(stage),
    }
    return _Loaded(per_s, counts["paid"], result)


def _in_doubt(done: list[Done]) -> int:
    """Return how many calls got no answer that says whether the payer was charged."""
    return sum(1 for one in done for name in one.errors if name not in _REFUSED)


def _meters(stage: Stage) -> Meters:
    first = stage.settings.metrics_port
    ports = {name: first + place for place, name in enumerate(services())}
    return Meters(admin_of(stage), stage.state["pids"], ports)


def admin_of(stage: Stage) -> str:
    """Return the DSN of the administrator of what runs."""
    file = stage.settings.home / "run" / "trade.json"
    dsn = json.loads(file.read_text())["database_dsn"]
    return admin_dsn(stage.settings, stage.state, dsn)


@asynccontextmanager
async def _stage(settings: Settings, say: Say) -> AsyncIterator[Stage]:
    def tell(event: Event) -> None:
        if event.what not in ("started", "stopped"):
            say(f"{event.name} {event.what}")

    async with open_stage(settings, tell) as stage:
        yield stage


def remove(settings: Settings) -> None:
    """Delete the installation, also what PostgreSQL had to keep elsewhere."""
    server = Postgres(settings.home, major=settings.postgres_major)
    server.remove()
    shutil.rmtree(settings.home, ignore_errors=True)
