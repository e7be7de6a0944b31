"""The ledger's bench: transfers through the contract, then whether the books hold."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import grpc
import psycopg

from bench.figures import Done, errors, percentile_ms, rate
from bench.ledger_load import Calls, Ids, LedgerShape, Line, run_ledger
from bench.ledger_references import copy_floor, post_call, sql_function
from bench.meters import cpu_us
from bench.play import Say, admin_of, remove
from bench.references import pgbench
from bench.report import fdatasync_us, machine, server_version
from demo.stage import OPERATOR, Stage, open_stage
from mesh.cli.output import table
from mesh.config import Settings
from mesh.embedded.places import make_home
from mesh.tokens import Signer
from tongbao.ledger.v1 import ledger_ops_service_pb2 as ops
from tongbao.ledger.v1 import transfer_service_pb2 as pb
from tongbao.ledger.v1.transfer_service_pb2_grpc import BookOpsServiceStub, TransferServiceStub

CALLER = "payment"  # Which service's key the calls are signed with.
REFERENCE_S = 4.0
PROVE_S = 900.0
FILL_BATCH = 8_190
OPEN_BATCH = 50_000  # Accounts of one statement, which has ten seconds.
_OPEN = """
WITH a AS (
    INSERT INTO account (book_id, kind, owner, currency_code)
    SELECT %(book)s, 'wallet', %(code)s || '/' || n, 'CNY'
    FROM generate_series(%(first)s::bigint, %(last)s) n
    RETURNING account_id, book_id
), b AS (
    INSERT INTO balance (account_id, book_id, normal, currency_code)
    SELECT account_id, book_id, 1, 'CNY' FROM a
)
SELECT account_id FROM a ORDER BY account_id
"""
_COUNTS = """
SELECT (SELECT count(*) FROM transfer WHERE book_id = ANY (%(books)s)) AS posted,
       (SELECT count(*) FROM block WHERE book_id = ANY (%(books)s)) AS blocks,
       (SELECT sum(debit) - sum(credit) FROM balance)::bigint AS gap
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerPlan:
    """What belongs to a bench beside its shape: earlier transfers, and the references."""

    fills: Sequence[int] = (0,)  # How many transfers there are before each measurement; they rise.
    references: bool = True


async def play_ledger(
    settings: Settings, shape: LedgerShape, plan: LedgerPlan, *, say: Say
) -> dict[str, Any]:
    """Return the result of one bench in a new installation in `settings.home`.

    The installation is gone afterwards. Raises StartError.
    """
    told: dict[str, Any] = {"run": asdict(shape) | asdict(plan), "machine": machine()}
    make_home(settings.home)
    told["machine"]["fdatasync_us"] = fdatasync_us(settings.home)
    try:
        async with open_stage(settings, lambda _: None) as stage:
            told["machine"]["postgres"] = await server_version(admin_of(stage))
            say(f"making {shape.books} books of {shape.accounts} accounts")
            lines = [await _line(stage, place, shape) for place in range(shape.books)]
            told["growth"] = [await _level(stage, lines, shape, fill, say) for fill in plan.fills]
            told |= told["growth"][-1]
            told["problems"] = [one for level in told["growth"] for one in level["problems"]]
            told["references"] = await _references(stage, lines[0], shape, plan, told, say)
            say("proving the books")
            told["problems"] += await _unproved(stage)
    finally:
        remove(settings)
    return told


async def _line(stage: Stage, place: int, shape: LedgerShape) -> Line:
    """Make a book for a business line, and the line's accounts, which have no limits."""
    code = f"BENCH{place}"
    credentials = grpc.ssl_channel_credentials(stage.settings.tls_ca.read_bytes())
    port = stage.state["ports"]["ledger"]
    target = f"{stage.settings.public_host}:{port}"
    async with grpc.aio.secure_channel(target, credentials) as channel:
        books = BookOpsServiceStub(channel)
        made = await stage.operator.ask(books.CreateBook, pb.CreateBookRequest(name=code.lower()))
        await stage.operator.ask(
            books.AssignBook, pb.AssignBookRequest(business_code=code, name=code.lower())
        )
    book_id = made.message.book_id
    async with await psycopg.AsyncConnection.connect(_dsn(stage), autocommit=True) as ledger:
        accounts: list[int] = []
        for first in range(1, shape.accounts + 1, OPEN_BATCH):
            last = min(first + OPEN_BATCH - 1, shape.accounts)
            asked = {"book": book_id, "code": code, "first": first, "last": last}
            accounts += [row[0] for row in await (await ledger.execute(_OPEN, asked)).fetchall()]
        await ledger.execute("ANALYZE balance")
    return Line(business_code=code, book_id=book_id, accounts=accounts)


async def _level(
    stage: Stage, lines: Sequence[Line], shape: LedgerShape, fill: int, say: Say
) -> dict[str, Any]:
    """Measure once there are `fill` transfers, or more of an earlier level."""
    there = (await _counts(stage, lines))["posted"]
    if there < fill:
        say(f"making {fill - there} earlier transfers")
        await _fill(_dsn(stage), lines, shape, fill - there)
    measured = await _measure(stage, lines, shape, say)
    return {"earlier": max(there, fill)} | measured


async def _fill(dsn: str, lines: Sequence[Line], shape: LedgerShape, count: int) -> None:
    """Post earlier transfers by the SQL function, the same number in every book."""
    whole = replace(shape, mode="uniform", batch=FILL_BATCH, in_flight=1)
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as ledger:
        for line in lines:
            calls, posted = Calls(line, whole, Ids()), 0
            while posted < count // len(lines):
                posted += await post_call(ledger, calls)
        await ledger.execute("VACUUM (ANALYZE) balance")
        await ledger.execute("ANALYZE transfer")


async def _measure(
    stage: Stage, lines: Sequence[Line], shape: LedgerShape, say: Say
) -> dict[str, Any]:
    """Load, and say what a transfer cost and whether the counts fit."""
    say(f"{shape.in_flight} calls of {shape.batch} in flight for {shape.seconds:g} s")
    before = await _counts(stage, lines)
    signer = Signer.from_file(f"svc:{CALLER}", stage.settings.home / "keys" / f"{CALLER}.key")
    socket = stage.settings.socket_dir / "ledger.sock"
    used = _cpu(stage)
    async with grpc.aio.insecure_channel(f"unix:{socket}") as channel:
        done, begin, end = await run_ledger(TransferServiceStub(channel), lines, shape, signer)
    now = _cpu(stage)
    after = await _counts(stage, lines)
    answered = sum(one.paid for one in done)
    posted, blocks = after["posted"] - before["posted"], after["blocks"] - before["blocks"]
    return {
        "transfers_per_s": round(rate(done, begin=begin, end=end), 1),
        "calls_per_s": round(_calls(done, begin, end) / (end - begin), 1),
        "p50_ms": round(percentile_ms(done, 0.50, begin=begin, end=end), 1),
        "p99_ms": round(percentile_ms(done, 0.99, begin=begin, end=end), 1),
        "transfers_per_block": round(posted / max(blocks, 1), 1),
        "cpu_us_per_transfer": {
            name: round((now[name] - used[name]) / max(posted, 1), 2) for name in sorted(used)
        },
        "counted": {"answered": answered, "posted": posted, "blocks": blocks},
        "errors": errors(done),
        "problems": _problems(done, answered, posted, after["gap"]),
    }


def _calls(done: Sequence[Done], begin: float, end: float) -> int:
    return sum(1 for one in done if begin <= one.ended < end)


def _problems(done: Sequence[Done], answered: int, posted: int, gap: int) -> list[str]:
    """Return what does not fit. A call without an answer may have been posted."""
    doubts = any(not one.paid and one.errors for one in done)
    found = []
    if answered != posted and not (doubts and answered < posted):
        found.append(f"{answered} transfers were answered OK, {posted} are in the journal")
    if gap:
        found.append(f"debits and credits differ by {gap}")
    return found


async def _references(
    stage: Stage,
    line: Line,
    shape: LedgerShape,
    plan: LedgerPlan,
    told: dict[str, Any],
    say: Say,
) -> dict[str, Any]:
    """Return what the same machine does without us, and our share of it."""
    if not plan.references:
        return {}
    say("the SQL function alone")
    function = await sql_function(_dsn(stage), line, shape, seconds=REFERENCE_S)
    say("COPY and one UPDATE")
    floor = await copy_floor(_dsn(stage), line, shape, seconds=REFERENCE_S)
    say("pgbench on the same server")
    tps = await pgbench(stage.settings, admin_of(stage))
    return {
        "sql_function_per_s": round(function, 1),
        "copy_floor_per_s": round(floor, 1),
        "pgbench_tpcb_per_s": round(tps, 1),
        "of_sql_function": round(told["transfers_per_s"] / function, 3),
        "sql_function_of_copy_floor": round(function / floor, 3),
        "times_pgbench": round(told["transfers_per_s"] / max(tps, 0.1), 2),
    }


async def _unproved(stage: Stage) -> list[str]:
    """Return what ProveBook finds: hashes of all blocks, the journal replayed to balances."""
    signer = Signer.from_file(OPERATOR, stage.settings.home / "keys" / "operator.key")
    proof = await stage.doors.ledger_ops.ProveBook(
        ops.ProveBookRequest(),
        timeout=PROVE_S,
        metadata=(("authorization", f"Bearer {signer.token()}"),),
    )
    return [f"{one.check} {one.place}: {one.detail}" for one in proof.findings]


async def _counts(stage: Stage, lines: Sequence[Line]) -> dict[str, int]:
    async with await psycopg.AsyncConnection.connect(_dsn(stage), autocommit=True) as ledger:
        cursor = await ledger.execute(_COUNTS, {"books": [line.book_id for line in lines]})
        row = await cursor.fetchone()
        assert row is not None
        return {"posted": row[0], "blocks": row[1], "gap": row[2]}


def _cpu(stage: Stage) -> dict[str, int]:
    pids = stage.state["pids"]
    return {name: cpu_us(pids[name], deep=name == "postgres") for name in ("ledger", "postgres")}


def _dsn(stage: Stage) -> str:
    file = stage.settings.home / "run" / "ledger.json"
    return str(json.loads(file.read_text())["database_dsn"])


def ledger_text(result: dict[str, Any]) -> str:
    """Return the result for people."""
    run = result["run"]
    rows = [
        ["transfers/s", f"{result['transfers_per_s']:,.0f}"],
        ["calls/s", f"{result['calls_per_s']:,.1f}"],
        ["p50, p99 of a call", f"{result['p50_ms']} ms, {result['p99_ms']} ms"],
        ["transfers a block", f"{result['transfers_per_block']:,.1f}"],
    ]
    rows += [
        [f"CPU of {name}", f"{us} us a transfer"]
        for name, us in result["cpu_us_per_transfer"].items()
    ]
    rows += [[name, f"{value:,}"] for name, value in result["references"].items()]
    if len(result["growth"]) > 1:
        rows += [
            [
                f"after {level['earlier']:,} transfers",
                f"{level['transfers_per_s']:,.0f}/s, p99 {level['p99_ms']} ms,"
                f" PostgreSQL {level['cpu_us_per_transfer']['postgres']} us a transfer",
            ]
            for level in result["growth"]
        ]
    title = (
        f"{run['mode']}, {run['in_flight']} calls of {run['batch']} in flight,"
        f" {run['books']} books of {run['accounts']} accounts"
    )
    problems = [f"WRONG: {problem}" for problem in result["problems"]]
    return "\n".join([title, table(rows), *problems])
