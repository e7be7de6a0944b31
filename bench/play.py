"""One bench from an empty home to a result: load, drain, count, references."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

from bench.drained import check_books, drain, problems
from bench.figures import Done, cpu_each, each, errors, others, percentile_ms, rate
from bench.inbox import Inbox
from bench.load import Sender, Shape, run
from bench.meters import Meters, admin_dsn, machine_us
from bench.references import pgbench
from bench.report import machine
from bench.world import BenchWorld, make_bench_world
from demo.stage import Stage, open_stage
from mesh.config import Settings, load
from mesh.embedded.places import Ports, make_home
from mesh.embedded.postgres import Postgres
from mesh.supervisor import Event

CAP1_S, CAP1_WARM_UP_S, CAP1_IN_FLIGHT = 6.0, 2.0, 256
_REFUSED = frozenset({"BALANCE_NOT_ENOUGH", "LIMIT_EXCEEDED", "DENY_LIST"})

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _Loaded:
    """What one load brought: payments a second, how many in all, and the rest."""

    payments_per_s: float
    paid: int
    result: dict[str, Any]


async def play(settings: Settings, shape: Shape, *, references: bool, say: Say) -> dict[str, Any]:
    """Return the result of one bench in a new installation in `settings.home`.

    The installation is gone afterwards. Raises StartError.
    """
    told: dict[str, Any] = {"run": asdict(shape), "machine": machine(), "references": {}}
    make_home(settings.home)
    tps = 0.0
    try:
        async with Inbox(Ports(settings.home).port("webhooks")) as inbox:
            async with _stage(settings, say) as stage:
                say("making apps, merchants and wallets")
                world = await make_bench_world(stage, webhook_url=inbox.url, what=shape.what)
                main = await _measure(stage, world, shape, inbox, say)
                told |= main.result
                if references:
                    say("pgbench on the same server")
                    tps = await pgbench(settings, _admin(stage))
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
        _remove(settings)


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
    counts, drain_s = await drain(_admin(stage), prefix=prefix)
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
    services = sorted(set(stage.state["pids"]) - {"postgres", "nats", "sim"})
    first = stage.settings.metrics_port
    ports = {name: first + place for place, name in enumerate(services)}
    return Meters(_admin(stage), stage.state["pids"], ports)


def _admin(stage: Stage) -> str:
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


def _remove(settings: Settings) -> None:
    """Delete the installation, also what PostgreSQL had to keep elsewhere."""
    server = Postgres(settings.home, major=settings.postgres_major)
    server.remove()
    shutil.rmtree(settings.home, ignore_errors=True)
