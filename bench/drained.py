"""After the load: wait until everything is booked, and count what is really there."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any

import psycopg

from demo.stage import Stage
from tongbao.ledger.v1 import ledger_ops_service_pb2 as ledger_pb

WITHIN_S = 120.0
_POLL_S = 0.1

# By the beginning of the caller's order numbers, which is the beginning of the trace numbers too.
_COUNTS = """
SELECT (SELECT count(*) FROM trade.trade
        WHERE order_no LIKE %(orders)s AND state = 'paid') AS paid,
       (SELECT count(*) FROM trade.trade
        WHERE order_no LIKE %(orders)s AND pay_state = 'processing') AS open,
       (SELECT count(*) FROM ledger.voucher
        WHERE trace_no LIKE %(traces)s AND template = 'COLLECTED') AS booked,
       (SELECT count(*) FROM settlement.clearing_item
        WHERE trace_no LIKE %(traces)s) AS cleared
"""
_SERVICES = ("trade", "payment", "channel", "ledger", "settlement", "risk")
_BACKLOG = " UNION ALL ".join(
    f"SELECT count(*) AS rows FROM {service}.outbox WHERE sequence IS NULL" for service in _SERVICES
)


async def drain(admin_dsn: str, *, prefix: str) -> tuple[dict[str, int], float]:
    """Return what became of all orders of a run, and how many seconds that took.

    Ends when every payment has ended, what was paid is booked and cleared, and no event is
    left behind; or after WITHIN_S with whatever is so then.
    """
    began = monotonic()
    numbers = {"orders": f"{prefix}-%", "traces": f"%-{prefix}-%"}
    async with await psycopg.AsyncConnection.connect(admin_dsn, autocommit=True) as admin:
        while True:
            counts = await _row(admin, _COUNTS, numbers)
            backlog = await _row(admin, f"SELECT sum(rows) AS rows FROM ({_BACKLOG}) b", {})
            counts["unpublished"] = backlog["rows"]
            seconds = monotonic() - began
            if is_drained(counts) or seconds > WITHIN_S:
                return counts, seconds
            await asyncio.sleep(_POLL_S)


def is_drained(counts: dict[str, int]) -> bool:
    """Return whether nothing is on its way any more."""
    same = counts["paid"] == counts["booked"] == counts["cleared"]
    return same and not counts["open"] and not counts["unpublished"]


def problems(counts: dict[str, int], *, told: int, in_doubt: int) -> list[str]:
    """Return what does not fit: `told` payments were answered PAID, `in_doubt` got no answer."""
    found = []
    if not is_drained(counts):
        found.append(f"not everything was booked in {WITHIN_S:.0f} s: {counts}")
    if not told <= counts["paid"] <= told + in_doubt:
        found.append(f"{told} were told PAID, {in_doubt} got no answer, {counts['paid']} are PAID")
    return found


async def check_books(stage: Stage) -> list[str]:
    """Return what does not hold in the trial balance."""
    answer = await stage.operator.ask(
        stage.doors.ledger_ops.GetTrialBalance, ledger_pb.GetTrialBalanceRequest()
    )
    lines = answer.message.lines
    gap = sum(line.debit_minor - line.credit_minor for line in lines)
    wallets = sum(line.debit_minor - line.credit_minor for line in lines if line.owner == "balance")
    found = [f"the trial balance is off by {gap}"] if gap else []
    return found + ([f"clearing[balance] stands at {wallets}"] if wallets else [])


async def _row(
    admin: psycopg.AsyncConnection[Any], query: str, numbers: dict[str, str]
) -> dict[str, int]:
    cursor = await admin.execute(query, numbers)
    row = await cursor.fetchone()
    assert row is not None
    assert cursor.description is not None
    return {column.name: int(value) for column, value in zip(cursor.description, row, strict=True)}
