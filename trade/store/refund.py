"""Refunds: taken from the trade before anybody is asked, given back to it when they fail."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime

from mesh.db import Database, Row, Statement
from mesh.sql import Outcome, move, outcome, told
from trade.model import FeePolicy, Refund, Trade, TradeType
from trade.states import RefundState, TradeState
from trade.store.columns import REFUND, TRADE, first_of, of, refund, trade
from trade.store.webhook import WEBHOOK_COLUMNS, Letter, webhook_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What became of a new refund.

    DONE: `fee_minor` is its share of the fee and `trade` counts it. Otherwise `trade` is the
    one that was asked for as it stood, if the app has it.
    """

    outcome: Outcome
    fee_minor: int
    trade: Trade | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptRefund:
    """What a refund order number stands for; RACE: for nothing."""

    outcome: Outcome
    refund: Refund | None


async def add_refund(db: Database, new: Refund, *, fingerprint: bytes) -> Taken:
    """Take the amount and its share of the fee out of the trade, and write the refund.

    All of it or nothing: nothing when the number was seen, when the app has no such trade,
    or when `Trade.check_refundable` would refuse. The share is counted here, under the
    trade's lock, so that whatever refunds complete the amount return the fee exactly; what
    `new` says of fee, payment and trace is not read. May say RACE.
    """
    values = {field.name: getattr(new, field.name) for field in fields(Refund)}
    return await db.ask(_ADD_REFUND, _NewRefund(**values, fingerprint=fingerprint))


async def find_kept_refund(
    db: Database, *, app_id: str, refund_order_no: str, fingerprint: bytes
) -> KeptRefund:
    """Return what the refund order number stands for, compared with the content."""
    seek = _Seek(app_id=app_id, key=refund_order_no, fingerprint=fingerprint)
    return await db.ask(_FIND_KEPT_REFUND, seek)


async def find_refund(db: Database, *, app_id: str, refund_no: str) -> Refund | None:
    """Return the app's refund."""
    return await db.ask(_FIND_REFUND, _Seek(app_id=app_id, key=refund_no))


async def move_refund(
    db: Database, seen: Refund, after: Refund, *, event: bytes, letter: Letter
) -> bool:
    """Write `after` with its event and its webhook; False when `seen` is not current.

    A refund that fails is given back to its trade, amount and fee, in the same statement.
    """
    assert after.version == seen.version + 1, (seen.version, after.version)
    moved = _MovedRefund(
        refund_no=seen.refund_no,
        app_id=seen.app_id,
        trace_no=seen.trace_no,
        trade_no=seen.trade_no,
        amount_minor=seen.amount_minor,
        fee_minor=seen.fee_minor,
        version=seen.version,
        state=after.state,
        pay_version=after.pay_version,
        failure_reason=after.failure_reason,
        due_time=after.due_time,
        update_time=after.update_time,
        event=event,
        webhook_id=letter.webhook_id,
        webhook_type=letter.type,
        webhook_payload=letter.payload,
    )
    failed = after.state is RefundState.FAILED
    return await db.ask(_FAIL_REFUND if failed else _MOVE_REFUND, moved)


async def put_off_refund(db: Database, seen: Refund, *, due_time: datetime) -> bool:
    """Look again at `due_time`; False when the refund is not open any more."""
    later = _Later(
        app_id=seen.app_id, refund_no=seen.refund_no, tries=seen.tries + 1, due_time=due_time
    )
    return await db.ask(_PUT_OFF_REFUND, later)


@dataclass(frozen=True, slots=True, kw_only=True)
class _NewRefund(Refund):
    fingerprint: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seek:
    app_id: str
    key: str
    fingerprint: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class _MovedRefund:
    refund_no: str
    app_id: str
    trace_no: str
    trade_no: str
    amount_minor: int
    fee_minor: int
    version: int
    state: RefundState
    pay_version: int
    failure_reason: str
    due_time: datetime | None
    update_time: datetime
    event: bytes
    webhook_id: str
    webhook_type: str
    webhook_payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Later:
    app_id: str
    refund_no: str
    tries: int
    due_time: datetime


def _taken(row: Row) -> Taken:
    return Taken(outcome=Outcome(row.outcome), fee_minor=row.share_minor or 0, trade=trade(row))


# The fee that falls to everything refunded so far, this refund included, minus what was
# returned already: the shares telescope. Failed refunds leave gaps behind them, which may
# make a share one unit too large or negative: it is kept between nothing and the refund
# itself, and the next one, at the latest the one that completes the amount, sets it right.
_SHARE = f"""CASE WHEN t.fee_policy = '{FeePolicy.RETURN}' THEN greatest(0, least(
                   i.amount_minor,
                   div(2::numeric * t.fee_minor * (t.refunded_minor + i.amount_minor)
                       + t.amount_minor, 2::numeric * t.amount_minor)::bigint
                   - t.fee_refunded_minor)) ELSE 0 END"""
# What the trade knows better than whoever asks for the refund.
_OF_TRADE = {
    "fee_minor": "held.share_minor",
    "payment_no": "held.payment_no",
    "trace_no": "held.trace_no",
}
_NEW_ROW = ", ".join(_OF_TRADE.get(name, f"i.{name}") for name in REFUND)
_REFUND_COLUMNS = {name: kind for name, kind in REFUND.items() if name not in _OF_TRADE}

_ADD_REFUND: Statement[_NewRefund, Taken] = Statement(
    name="add_refund",
    columns=_REFUND_COLUMNS | {"fingerprint": "bytea"},
    keys_of=lambda new: [
        ("trade", new.app_id, new.trade_no),
        ("refund", new.app_id, new.refund_order_no),
    ],
    result=_taken,
    sql=f"""
    WITH i AS ({{input}}),
    held AS MATERIALIZED (
        SELECT i.ord, {of("t", TRADE)}, {_SHARE} AS share_minor,
               t.currency_code = i.currency_code AND t.state = '{TradeState.PAID}'
               AND t.type = '{TradeType.COLLECT}'
               AND t.refunded_minor + i.amount_minor <= t.amount_minor AS fits
        FROM i JOIN trade t ON (t.trade_no, t.app_id) = (i.trade_no, i.app_id)
        ORDER BY t.trade_no FOR NO KEY UPDATE OF t
    ),
    won AS (
        INSERT INTO refund_key (app_id, refund_order_no, refund_no, fingerprint)
        SELECT i.app_id, i.refund_order_no, i.refund_no, i.fingerprint
        FROM i JOIN held USING (ord) WHERE held.fits
        ORDER BY i.app_id, i.refund_order_no ON CONFLICT DO NOTHING RETURNING refund_no
    ),
    taken AS (
        UPDATE trade t
        SET refunded_minor = t.refunded_minor + i.amount_minor,
            fee_refunded_minor = t.fee_refunded_minor + held.share_minor,
            version = t.version + 1, update_time = greatest(t.update_time, i.update_time)
        FROM i JOIN won USING (refund_no) JOIN held USING (ord)
        WHERE (t.trade_no, t.app_id) = (i.trade_no, i.app_id)
        RETURNING i.ord, {of("t", TRADE)}
    ),
    written AS (
        INSERT INTO refund ({", ".join(REFUND)})
        SELECT {_NEW_ROW}
        FROM i JOIN taken USING (ord) JOIN held USING (ord)
    )
    SELECT i.ord, {outcome(won="m.ord", key="k")}, held.share_minor,
           {first_of("m", "held", TRADE)}
    FROM i LEFT JOIN held USING (ord) LEFT JOIN taken m USING (ord)
    LEFT JOIN refund_key k ON (k.app_id, k.refund_order_no) = (i.app_id, i.refund_order_no)
    """,
)

_FIND_KEPT_REFUND: Statement[_Seek, KeptRefund] = Statement(
    name="find_kept_refund",
    columns={"app_id": "text", "key": "text", "fingerprint": "bytea"},
    result=lambda row: KeptRefund(outcome=Outcome(row.outcome), refund=refund(row)),
    sql=f"""
    WITH i AS ({{input}})
    SELECT i.ord, {of("r", REFUND)},
           CASE WHEN k.fingerprint IS NULL THEN '{Outcome.RACE}'
                WHEN k.fingerprint = i.fingerprint THEN '{Outcome.REPLAY}'
                ELSE '{Outcome.REUSED}' END AS outcome
    FROM i
    LEFT JOIN refund_key k ON (k.app_id, k.refund_order_no) = (i.app_id, i.key)
    LEFT JOIN refund r ON (r.refund_no, r.app_id) = (k.refund_no, k.app_id)
    """,
)

_FIND_REFUND: Statement[_Seek, Refund | None] = Statement(
    name="find_refund",
    columns={"app_id": "text", "key": "text"},
    result=refund,
    sql=f"""
    WITH i AS ({{input}})
    SELECT i.ord, {of("r", REFUND)}
    FROM i LEFT JOIN refund r ON (r.refund_no, r.app_id) = (i.key, i.app_id)
    """,
)

_MOVED = {
    "state": "text",
    "pay_version": "bigint",
    "failure_reason": "text",
    "due_time": "timestamptz",
    "update_time": "timestamptz",
}
_MOVED_COLUMNS = {
    "refund_no": "text",
    "app_id": "text",
    "trace_no": "text",
    "trade_no": "text",
    "amount_minor": "bigint",
    "fee_minor": "bigint",
    "version": "bigint",
    "event": "bytea",
    **_MOVED,
    **WEBHOOK_COLUMNS,
}

_MOVE_REFUND: Statement[_MovedRefund, bool] = Statement(
    name="move_refund",
    columns=_MOVED_COLUMNS,
    keys_of=lambda moved: [moved.refund_no],
    weight_of=lambda moved: len(moved.event),
    result=lambda row: bool(row.moved),
    sql=move("refund", "refund_no", sets=[*_MOVED], extra={"posted": webhook_of("refund_no")}),
)

# Trades are locked before refunds, as in `_ADD_REFUND`; the join keeps the two in this order.
_FAIL_REFUND: Statement[_MovedRefund, bool] = Statement(
    name="fail_refund",
    columns=_MOVED_COLUMNS,
    keys_of=lambda moved: [("trade", moved.trade_no), ("refund", moved.refund_no)],
    weight_of=lambda moved: len(moved.event),
    result=lambda row: bool(row.moved),
    sql=f"""
    WITH i AS ({{input}}),
    trades AS MATERIALIZED (
        SELECT t.trade_no FROM i JOIN trade t ON (t.trade_no, t.app_id) = (i.trade_no, i.app_id)
        ORDER BY t.trade_no FOR NO KEY UPDATE OF t
    ),
    held AS MATERIALIZED (
        SELECT i.ord
        FROM i JOIN trades USING (trade_no)
        JOIN refund r ON (r.refund_no, r.app_id) = (i.refund_no, i.app_id)
        WHERE r.version = i.version ORDER BY r.refund_no FOR NO KEY UPDATE OF r
    ),
    moved AS (
        UPDATE refund r
        SET {", ".join(f"{column} = i.{column}" for column in _MOVED)}, version = i.version + 1
        FROM i JOIN held USING (ord) WHERE r.refund_no = i.refund_no RETURNING i.ord
    ),
    released AS (
        UPDATE trade t
        SET refunded_minor = t.refunded_minor - i.amount_minor,
            fee_refunded_minor = t.fee_refunded_minor - i.fee_minor,
            version = t.version + 1, update_time = greatest(t.update_time, i.update_time)
        FROM i JOIN moved USING (ord) WHERE (t.trade_no, t.app_id) = (i.trade_no, i.app_id)
    ),
    posted AS ({webhook_of("refund_no")}),
    {told("moved")}
    SELECT i.ord, moved.ord IS NOT NULL AS moved FROM i LEFT JOIN moved USING (ord)
    """,
)

_PUT_OFF_REFUND: Statement[_Later, bool] = Statement(
    name="put_off_refund",
    columns={
        "app_id": "text",
        "refund_no": "text",
        "tries": "integer",
        "due_time": "timestamptz",
    },
    keys_of=lambda later: [later.refund_no],
    result=lambda row: bool(row.moved),
    sql="""
    WITH i AS ({input}),
    held AS MATERIALIZED (
        SELECT i.ord FROM i JOIN refund r ON (r.refund_no, r.app_id) = (i.refund_no, i.app_id)
        WHERE r.due_time IS NOT NULL ORDER BY r.refund_no FOR NO KEY UPDATE OF r
    ),
    moved AS (
        UPDATE refund r SET due_time = i.due_time, tries = i.tries
        FROM i JOIN held USING (ord) WHERE r.refund_no = i.refund_no RETURNING i.ord
    )
    SELECT i.ord, moved.ord IS NOT NULL AS moved FROM i LEFT JOIN moved USING (ord)
    """,
)
