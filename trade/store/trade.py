"""Trades: written once, claimed for one payment at a time, moved by version."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mesh.db import Database, Row, Statement
from mesh.records import extend
from mesh.sql import Outcome, move, outcome
from trade.model import FeePolicy, Order, Tool, Trade, Try
from trade.states import PayState, TradeState
from trade.store.columns import TRADE, first_of, of, trade
from trade.store.webhook import WEBHOOK_COLUMNS, Letter, webhook_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """What became of a claim, and the trade after it; as it stood when it was not claimed.

    `late` says that it had expired.
    """

    outcome: Outcome
    trade: Trade | None
    late: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A try to pay a trade that exists, ready to be written."""

    app_id: str
    trade_no: str
    request_id: str
    fingerprint: bytes
    payment_no: str
    pay_tool: Tool
    fee_minor: int
    fee_policy: FeePolicy
    due_time: datetime
    update_time: datetime


async def add_trade(db: Database, new: Trade, *, order: Order, tried: Try | None = None) -> bool:
    """Write the trade under its order number, with its first try if there is one.

    Returns False, and writes nothing, when one of the numbers was seen before.
    """
    row = extend(
        _NewTrade,
        new,
        fingerprint=order.fingerprint,
        request_id=tried.request_id if tried else "",
        pay_fingerprint=tried.fingerprint if tried else b"",
    )
    return await db.ask(_ADD_TRADE, row)


async def claim_trade(db: Database, claim: Claim) -> Claimed:
    """Begin a try, if the trade may be paid and the request id is new. May say RACE."""
    return await db.ask(_CLAIM_TRADE, claim)


async def move_trade(
    db: Database, seen: Trade, after: Trade, *, event: bytes, letter: Letter
) -> bool:
    """Write `after` with its event and its webhook; False when `seen` is not current."""
    assert after.version == seen.version + 1, (seen.version, after.version)
    moved = _MovedTrade(
        trade_no=seen.trade_no,
        app_id=seen.app_id,
        trace_no=seen.trace_no,
        version=seen.version,
        state=after.state,
        pay_state=after.pay_state,
        pay_version=after.pay_version,
        qr_code=after.qr_code,
        failure_reason=after.failure_reason,
        due_time=after.due_time,
        tries=after.tries,
        closing=after.closing,
        update_time=after.update_time,
        event=event,
        webhook_id=letter.webhook_id,
        webhook_type=letter.type,
        webhook_payload=letter.payload,
    )
    if after.payment_no == seen.payment_no:
        return await db.ask(_MOVE_TRADE, moved)
    adopted = {name: getattr(moved, name) for name in _MovedTrade.__slots__} | {
        name: getattr(after, name) for name in _ADOPTED
    }
    return await db.ask(_ADOPT_PAYMENT, _AdoptedTrade(**adopted))


async def put_off_trade(db: Database, seen: Trade, *, due_time: datetime) -> bool:
    """Look again at `due_time`; False when the trade has changed since it was looked at."""
    later = _Later(
        app_id=seen.app_id,
        trade_no=seen.trade_no,
        version=seen.version,
        tries=seen.tries + 1,
        due_time=due_time,
    )
    return await db.ask(_PUT_OFF_TRADE, later)


@dataclass(frozen=True, slots=True, kw_only=True)
class _NewTrade(Trade):
    fingerprint: bytes
    request_id: str
    pay_fingerprint: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _MovedTrade:
    trade_no: str
    app_id: str
    trace_no: str
    version: int
    state: TradeState
    pay_state: PayState
    pay_version: int
    qr_code: str
    failure_reason: str
    due_time: datetime | None
    tries: int
    closing: bool
    update_time: datetime
    event: bytes
    webhook_id: str
    webhook_type: str
    webhook_payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _AdoptedTrade(_MovedTrade):
    payment_no: str
    pay_tool: Tool
    fee_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Later:
    app_id: str
    trade_no: str
    version: int
    tries: int
    due_time: datetime


def _numbers_of(new: _NewTrade) -> list[Hashable]:
    keys: list[Hashable] = [("order", new.business_code, new.order_no)]
    return [*keys, ("try", new.app_id, new.request_id)] if new.request_id else keys


def _claimed(row: Row) -> Claimed:
    return Claimed(outcome=Outcome(row.outcome), trade=trade(row), late=bool(row.late))


# The order number decides; a try that comes with it must win its own number as well. One that
# was seen keeps the order from being written; one that a twin takes at this very moment
# undoes the statement, which then sees it.
_ADD_TRADE: Statement[_NewTrade, bool] = Statement(
    name="add_trade",
    columns=TRADE | {"fingerprint": "bytea", "request_id": "text", "pay_fingerprint": "bytea"},
    keys_of=_numbers_of,
    result=lambda row: bool(row.written),
    sql=f"""
    WITH i AS ({{input}}),
    won AS (
        INSERT INTO trade_key (business_code, order_no, trade_no, fingerprint)
        SELECT i.business_code, i.order_no, i.trade_no, i.fingerprint FROM i
        WHERE NOT EXISTS (
            SELECT FROM pay_key p WHERE (p.app_id, p.request_id) = (i.app_id, i.request_id)
        )
        ORDER BY i.business_code, i.order_no ON CONFLICT DO NOTHING RETURNING trade_no
    ),
    tried AS (
        INSERT INTO pay_key (app_id, request_id, trade_no, payment_no, fingerprint)
        SELECT i.app_id, i.request_id, i.trade_no, i.payment_no, i.pay_fingerprint
        FROM i JOIN won USING (trade_no) WHERE i.request_id <> ''
        ORDER BY i.app_id, i.request_id ON CONFLICT DO NOTHING RETURNING trade_no
    ),
    written AS (
        INSERT INTO trade ({", ".join(TRADE)})
        SELECT {of("i", TRADE)} FROM i JOIN won USING (trade_no) RETURNING trade_no
    )
    SELECT i.ord,
           CASE WHEN w.trade_no IS NOT NULL AND i.request_id <> '' AND t.trade_no IS NULL
                THEN run_again() ELSE w.trade_no IS NOT NULL END AS written
    FROM i LEFT JOIN written w USING (trade_no) LEFT JOIN tried t USING (trade_no)
    """,
)

# `held` locks the trade and sees it as it is now, not as it was when the statement began:
# whoever waited for another try's claim finds that try. Only what fits takes the number, so
# that a refused try may be sent again under it.
_FITS = f"""t.state IN ('{TradeState.CREATED}', '{TradeState.PAYING}')
               AND t.pay_state IN ('{PayState.NONE}', '{PayState.FAILED}', '{PayState.CLOSED}')
               AND business_now() < t.expire_time"""
_CLAIM_TRADE: Statement[Claim, Claimed] = Statement(
    name="claim_trade",
    columns={
        "app_id": "text",
        "trade_no": "text",
        "request_id": "text",
        "fingerprint": "bytea",
        "payment_no": "text",
        "pay_tool": "text",
        "fee_minor": "bigint",
        "fee_policy": "text",
        "due_time": "timestamptz",
        "update_time": "timestamptz",
    },
    keys_of=lambda claim: [
        ("trade", claim.app_id, claim.trade_no),
        ("try", claim.app_id, claim.request_id),
    ],
    result=_claimed,
    sql=f"""
    WITH i AS ({{input}}),
    held AS MATERIALIZED (
        SELECT i.ord, {of("t", TRADE)}, {_FITS} AS fits,
               business_now() >= t.expire_time AS late
        FROM i JOIN trade t ON (t.trade_no, t.app_id) = (i.trade_no, i.app_id)
        ORDER BY t.trade_no FOR NO KEY UPDATE OF t
    ),
    won AS (
        INSERT INTO pay_key (app_id, request_id, trade_no, payment_no, fingerprint)
        SELECT i.app_id, i.request_id, i.trade_no, i.payment_no, i.fingerprint
        FROM i JOIN held USING (ord) WHERE held.fits
        ORDER BY i.app_id, i.request_id ON CONFLICT DO NOTHING RETURNING payment_no
    ),
    moved AS (
        UPDATE trade t
        SET state = '{TradeState.PAYING}', payment_no = i.payment_no, pay_tool = i.pay_tool,
            pay_state = '{PayState.PROCESSING}', pay_version = 0, qr_code = '',
            failure_reason = '', fee_minor = i.fee_minor, fee_policy = i.fee_policy,
            due_time = i.due_time, tries = 0, version = t.version + 1,
            update_time = greatest(t.update_time, i.update_time)
        FROM i JOIN won USING (payment_no) WHERE (t.trade_no, t.app_id) = (i.trade_no, i.app_id)
        RETURNING i.ord, {of("t", TRADE)}
    )
    SELECT i.ord, held.late, {outcome(won="m.ord", key="k")}, {first_of("m", "held", TRADE)}
    FROM i LEFT JOIN held USING (ord) LEFT JOIN moved m USING (ord)
    LEFT JOIN pay_key k ON (k.app_id, k.request_id) = (i.app_id, i.request_id)
    """,
)

_MOVED: dict[str, Any] = {
    "state": "text",
    "pay_state": "text",
    "pay_version": "bigint",
    "qr_code": "text",
    "failure_reason": "text",
    "due_time": "timestamptz",
    "tries": "integer",
    "closing": "boolean",
    "update_time": "timestamptz",
}
_MOVE_COLUMNS = {
    "trade_no": "text",
    "app_id": "text",
    "trace_no": "text",
    "version": "bigint",
    "event": "bytea",
    **_MOVED,
    **WEBHOOK_COLUMNS,
}
_MOVE_TRADE: Statement[_MovedTrade, bool] = Statement(
    name="move_trade",
    columns=_MOVE_COLUMNS,
    keys_of=lambda moved: [moved.trade_no],
    weight_of=lambda moved: len(moved.event),
    result=lambda row: bool(row.moved),
    sql=move("trade", "trade_no", sets=[*_MOVED], extra={"posted": webhook_of("trade_no")}),
)

# A person has accepted a payment that is not the latest try: it is the trade's own from now on.
_ADOPTED = {"payment_no": "text", "pay_tool": "text", "fee_minor": "bigint"}
_ADOPT_PAYMENT: Statement[_AdoptedTrade, bool] = Statement(
    name="adopt_payment",
    columns=_MOVE_COLUMNS | _ADOPTED,
    keys_of=lambda moved: [moved.trade_no],
    weight_of=lambda moved: len(moved.event),
    result=lambda row: bool(row.moved),
    sql=move(
        "trade",
        "trade_no",
        sets=[*_MOVED, *_ADOPTED],
        extra={"posted": webhook_of("trade_no")},
    ),
)

_PUT_OFF_TRADE: Statement[_Later, bool] = Statement(
    name="put_off_trade",
    columns={
        "app_id": "text",
        "trade_no": "text",
        "version": "bigint",
        "tries": "integer",
        "due_time": "timestamptz",
    },
    keys_of=lambda later: [later.trade_no],
    result=lambda row: bool(row.moved),
    sql="""
    WITH i AS ({input}),
    held AS MATERIALIZED (
        SELECT i.ord FROM i JOIN trade t ON (t.trade_no, t.app_id) = (i.trade_no, i.app_id)
        WHERE t.due_time IS NOT NULL AND t.version = i.version
        ORDER BY t.trade_no FOR NO KEY UPDATE OF t
    ),
    moved AS (
        UPDATE trade t SET due_time = i.due_time, tries = i.tries
        FROM i JOIN held USING (ord) WHERE t.trade_no = i.trade_no RETURNING i.ord
    )
    SELECT i.ord, moved.ord IS NOT NULL AS moved FROM i LEFT JOIN moved USING (ord)
    """,
)
