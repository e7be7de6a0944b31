"""Trades, read by their own numbers and by their callers'."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mesh.db import Database, Row, Statement
from mesh.sql import Outcome
from trade.model import App, Order, Trade, Try
from trade.store.columns import TRADE, of, trade


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What the caller's own numbers stand for; RACE: for nothing.

    `tried` is the request id of a try, `ordered` the order number; `payment_no` is the try's
    own. `trade` is the one they stand for, or the one that was asked for.
    """

    tried: Outcome
    ordered: Outcome
    payment_no: str
    trade: Trade | None


async def find_kept(
    db: Database,
    app: App,
    *,
    order: Order | None = None,
    tried: Try | None = None,
    trade_no: str = "",
) -> Kept:
    """Return what the numbers of `order` and `tried` stand for, or else the trade named."""
    numbers = _Numbers(
        app_id=app.app_id,
        business_code=app.business_code,
        order_no=order.order_no if order else "",
        fingerprint=order.fingerprint if order else b"",
        request_id=tried.request_id if tried else "",
        pay_fingerprint=tried.fingerprint if tried else b"",
        trade_no=trade_no,
    )
    return await db.ask(_FIND_KEPT, numbers)


async def find_trade(db: Database, *, app_id: str, trade_no: str) -> Trade | None:
    """Return the app's trade."""
    return await db.ask(_FIND_TRADE, _Seek(app_id=app_id, key=trade_no))


async def find_order(db: Database, app: App, *, order_no: str) -> Trade | None:
    """Return the trade of the app's order number."""
    seek = _Seek(app_id=app.app_id, business_code=app.business_code, key=order_no)
    return await db.ask(_FIND_ORDER, seek)


async def find_newer(db: Database, seen: Sequence[tuple[str, str, int]]) -> list[Trade]:
    """Return those trades that have changed: `seen` are their numbers, apps and versions."""
    numbers, apps, versions = zip(*seen, strict=True)
    rows = await db.rows(
        _FIND_NEWER, numbers=list(numbers), apps=list(apps), versions=list(versions)
    )
    return [found for row in rows if (found := trade(row)) is not None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Numbers:
    app_id: str
    business_code: str
    order_no: str
    fingerprint: bytes
    request_id: str
    pay_fingerprint: bytes
    trade_no: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seek:
    app_id: str
    key: str
    business_code: str = ""


def _kept(row: Row) -> Kept:
    return Kept(
        tried=Outcome(row.tried),
        ordered=Outcome(row.ordered),
        payment_no=row.tried_payment_no or "",
        trade=trade(row),
    )


def _seen(key: str, fingerprint: str) -> str:
    """Return the CASE that says what a number stands for, seen by a read."""
    return f"""CASE WHEN {key}.fingerprint IS NULL THEN '{Outcome.RACE}'
                WHEN {key}.fingerprint = {fingerprint} THEN '{Outcome.REPLAY}'
                ELSE '{Outcome.REUSED}' END"""


_FIND_KEPT: Statement[_Numbers, Kept] = Statement(
    name="find_kept",
    columns={
        "app_id": "text",
        "business_code": "text",
        "order_no": "text",
        "fingerprint": "bytea",
        "request_id": "text",
        "pay_fingerprint": "bytea",
        "trade_no": "text",
    },
    result=_kept,
    sql=f"""
    WITH i AS ({{input}})
    SELECT i.ord, {_seen("p", "i.pay_fingerprint")} AS tried, p.payment_no AS tried_payment_no,
           {_seen("k", "i.fingerprint")} AS ordered, {of("t", TRADE)}
    FROM i
    LEFT JOIN pay_key p ON (p.app_id, p.request_id) = (i.app_id, i.request_id)
    LEFT JOIN trade_key k ON (k.business_code, k.order_no) = (i.business_code, i.order_no)
    LEFT JOIN trade t
        ON t.trade_no = coalesce(p.trade_no, k.trade_no, i.trade_no) AND t.app_id = i.app_id
    """,
)

_FIND_TRADE: Statement[_Seek, Trade | None] = Statement(
    name="find_trade",
    columns={"app_id": "text", "key": "text"},
    result=trade,
    sql=f"""
    WITH i AS ({{input}})
    SELECT i.ord, {of("t", TRADE)}
    FROM i LEFT JOIN trade t ON (t.trade_no, t.app_id) = (i.key, i.app_id)
    """,
)

_FIND_ORDER: Statement[_Seek, Trade | None] = Statement(
    name="find_order",
    columns={"app_id": "text", "business_code": "text", "key": "text"},
    result=trade,
    sql=f"""
    WITH i AS ({{input}})
    SELECT i.ord, {of("t", TRADE)}
    FROM i
    LEFT JOIN trade_key k ON (k.business_code, k.order_no) = (i.business_code, i.key)
    LEFT JOIN trade t ON (t.trade_no, t.app_id) = (k.trade_no, i.app_id)
    """,
)

_FIND_NEWER = f"""
SELECT {of("t", TRADE)}
FROM unnest(%(numbers)s::text[], %(apps)s::text[], %(versions)s::bigint[])
    AS w (trade_no, app_id, version)
JOIN trade t ON (t.trade_no, t.app_id) = (w.trade_no, w.app_id)
WHERE t.version > w.version
"""
