"""Refunds: written once under their number, with what they take from their payment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from mesh.db import Database, Row, Statement
from mesh.sql import Outcome, move, outcome
from payment.case import Case
from payment.model import Payment, Refund, RefundOrder, TradeType
from payment.states import PaymentState, RefundState
from payment.store.case import CASE_COLUMN, opening
from payment.store.payment import COLUMNS as PAYMENT_COLUMNS
from payment.store.payment import payment_of

COLUMNS = tuple(field.name for field in fields(Refund))


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptRefund:
    """What became of a number, the refund it stands for, and its payment as it was left.

    `payment` is there when the app has it, whether it was refundable or not.
    """

    outcome: Outcome
    refund: Refund | None = None
    payment: Payment | None = None


async def add_refund(
    db: Database, order: RefundOrder, *, fingerprint: bytes, now: datetime, due_time: datetime
) -> KeptRefund:
    """Take the amount out of what is left of the payment, and write the refund.

    Both or nothing: nothing when the number was seen, when the app has no such payment, or
    when `Payment.check_refundable` would refuse. May say RACE.
    """
    new = _NewRefund(
        **{name: getattr(order, name) for name in _ORDERED},
        fingerprint=fingerprint,
        due_time=due_time,
        create_time=now,
    )
    return await db.ask(_ADD, new)


async def seek_refund(db: Database, *, refund_no: str, fingerprint: bytes) -> KeptRefund:
    """Return what the number stands for, compared with `fingerprint`. RACE: for nothing."""
    return await db.ask(_SEEK, _Seek(refund_no=refund_no, fingerprint=fingerprint))


async def find_refund(db: Database, *, app_id: str, refund_no: str) -> Refund | None:
    """Return the refund, None when the app has none of this number."""
    return await db.ask(_FIND, _Key(app_id=app_id, refund_no=refund_no))


async def move_refund(
    db: Database, after: Refund, *, releases: bool, event: bytes = b"", case: Case | None = None
) -> bool:
    """Bring the refund from the version before `after` to it, with its event and its case.

    If it `releases`, its amount may be refunded again. False, and nothing done, when somebody
    else moved it first. Raises Rejected for a move that the state table does not have.
    """
    moved = _Move(
        refund_no=after.refund_no,
        payment_no=after.payment_no,
        app_id=after.app_id,
        version=after.version - 1,
        **{name: getattr(after, name) for name in _MOVED},
        released_minor=after.amount_minor if releases else 0,
        event=event,
        new_case=case,
    )
    return await db.ask(_MOVE, moved)


async def postpone_refund(
    db: Database, *, app_id: str, refund_no: str, due_time: datetime, tries: int
) -> None:
    """Say when to look again at a refund that is still open; no change of the refund."""
    later = _Postpone(app_id=app_id, refund_no=refund_no, due_time=due_time, tries=tries)
    await db.ask(_POSTPONE, later)


async def list_refunds(db: Database, *, app_id: str, trace_no: str) -> Sequence[Refund]:
    """Return the refunds of a trace, oldest first."""
    rows = await db.rows(_LIST, app_id=app_id, trace_no=trace_no)
    return [_refund(row) for row in rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Key:
    app_id: str
    refund_no: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seek:
    refund_no: str
    fingerprint: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Postpone(_Key):
    due_time: datetime
    tries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _NewRefund(RefundOrder):
    fingerprint: bytes
    due_time: datetime
    create_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class _Move(_Key):
    payment_no: str
    version: int
    state: RefundState
    channel_code: str
    attempt_no: str
    attempt_state: str
    reported_minor: int
    review_kind: str
    failure_reason: str
    due_time: datetime | None
    released_minor: int
    event: bytes
    new_case: Case | None


_KEY = {"refund_no": "text", "app_id": "text"}
_ORDERED = {
    "refund_no": "text",
    "payment_no": "text",
    "app_id": "text",
    "currency_code": "text",
    "amount_minor": "bigint",
    "fee_minor": "bigint",
}
_MOVED = {
    "state": "text",
    "channel_code": "text",
    "attempt_no": "text",
    "attempt_state": "text",
    "reported_minor": "bigint",
    "review_kind": "text",
    "failure_reason": "text",
    "due_time": "timestamptz",
}
# A refund is of the trade, the merchant and the channel of its payment.
_INHERITED = "trade_no, business_code, trace_no, merchant_id, channel_code"
_OLD = ", ".join(f"r.{name}" for name in COLUMNS)
_SEEN = ", ".join([*COLUMNS, "fingerprint"])
_TAKEN = ("refunded_minor", "version")  # Of the payment: as they are after we took our part.
_HELD = [name for name in PAYMENT_COLUMNS if name not in _TAKEN]


def _refund(row: Row, *, prefix: str = "") -> Refund:
    values: dict[str, Any] = {name: getattr(row, prefix + name) for name in COLUMNS}
    values["state"] = RefundState(values["state"])
    return Refund(**values)


def _aliased(alias: str, columns: Sequence[str], prefix: str) -> str:
    return ", ".join(f"{alias}.{name} AS {prefix}{name}" for name in columns)


def _kept(row: Row) -> KeptRefund:
    """Return the outcome with the refund, whether it was written now or before."""
    result = Outcome(row.outcome)
    ours = result in (Outcome.DONE, Outcome.REPLAY)
    return KeptRefund(
        outcome=result,
        refund=_refund(row, prefix="r_") if ours else None,
        payment=payment_of(row, prefix="p_") if row.p_payment_no else None,
    )


# `held` locks the payments in order and sees them as they are now, not as they were when the
# statement began: a row that we waited for is read again. Its `fits` is the guard, and the
# facts beside it say why when it is false. Only what fits takes its number, so a refused
# refund may be sent again. A number that is known already never waits for its row.
_ADD: Statement[_NewRefund, KeptRefund] = Statement(
    name="add_refund",
    columns=_ORDERED
    | {"fingerprint": "bytea", "due_time": "timestamptz", "create_time": "timestamptz"},
    keys_of=lambda new: [("payment", new.payment_no), ("refund", new.refund_no)],
    result=_kept,
    sql=f"""
    WITH i AS ({{input}}),
    held AS MATERIALIZED (
        SELECT i.ord, {", ".join(f"p.{name}" for name in PAYMENT_COLUMNS)},
               p.state = '{PaymentState.SUCCEEDED}' AND p.trade_type = '{TradeType.COLLECT}'
               AND p.currency_code = i.currency_code
               AND p.refunded_minor + i.amount_minor <= p.amount_minor AS fits
        FROM i JOIN payment p ON (p.payment_no, p.app_id) = (i.payment_no, i.app_id)
        ORDER BY p.payment_no FOR NO KEY UPDATE OF p
    ),
    written AS (
        INSERT INTO refund ({", ".join(_ORDERED)}, fingerprint, due_time, create_time,
                            update_time, state, {_INHERITED})
        SELECT {", ".join(f"i.{name}" for name in _ORDERED)}, i.fingerprint, i.due_time,
               i.create_time, i.create_time, '{RefundState.CREATED}',
               h.trade_no, h.business_code, h.trace_no, h.merchant_id, h.channel_code
        FROM i JOIN held h USING (ord)
        WHERE h.fits AND NOT EXISTS (SELECT FROM refund r WHERE r.refund_no = i.refund_no)
        ORDER BY i.refund_no ON CONFLICT DO NOTHING RETURNING {_SEEN}
    ),
    taken AS (
        UPDATE payment p SET refunded_minor = p.refunded_minor + i.amount_minor,
               version = p.version + 1, update_time = business_now()
        FROM i JOIN written w USING (refund_no)
        WHERE (p.payment_no, p.app_id) = (i.payment_no, i.app_id)
        RETURNING i.ord, p.refunded_minor, p.version
    ),
    seen AS (
        SELECT {_SEEN} FROM written
        UNION ALL
        SELECT {_OLD}, r.fingerprint FROM refund r JOIN i ON r.refund_no = i.refund_no
    )
    SELECT i.ord, {outcome(won="w.refund_no", key="r")},
           {_aliased("r", COLUMNS, "r_")},
           {_aliased("h", _HELD, "p_")},
           {", ".join(f"coalesce(t.{name}, h.{name}) AS p_{name}" for name in _TAKEN)}
    FROM i
    LEFT JOIN held h USING (ord)
    LEFT JOIN taken t USING (ord)
    LEFT JOIN written w ON w.refund_no = i.refund_no
    LEFT JOIN seen r ON r.refund_no = i.refund_no
    """,
)

_SEEK: Statement[_Seek, KeptRefund] = Statement(
    name="seek_refund",
    columns={"refund_no": "text", "fingerprint": "bytea"},
    result=_kept,
    sql=f"""
    WITH i AS ({{input}})
    SELECT i.ord, {outcome(won="NULL", key="r")}, {_aliased("r", COLUMNS, "r_")},
           NULL AS p_payment_no
    FROM i LEFT JOIN refund r ON r.refund_no = i.refund_no
    """,
)

_FIND: Statement[_Key, Refund | None] = Statement(
    name="find_refund",
    columns=_KEY,
    result=lambda row: _refund(row) if row.refund_no else None,
    sql=f"""
    WITH i AS ({{input}})
    SELECT i.ord, {_OLD}
    FROM i LEFT JOIN refund r ON (r.refund_no, r.app_id) = (i.refund_no, i.app_id)
    """,
)

# A batch holds no two refunds of one payment: an UPDATE applies one of two changes to a row.
_RELEASE = """
    UPDATE payment p SET refunded_minor = p.refunded_minor - i.released_minor,
           version = p.version + 1, update_time = business_now()
    FROM i JOIN moved USING (ord)
    WHERE i.released_minor > 0 AND (p.payment_no, p.app_id) = (i.payment_no, i.app_id)
"""
_MOVE: Statement[_Move, bool] = Statement(
    name="move_refund",
    columns=_KEY
    | {"payment_no": "text", "version": "bigint"}
    | _MOVED
    | {"released_minor": "bigint", "event": "bytea"}
    | CASE_COLUMN,
    keys_of=lambda move: [("payment", move.payment_no), ("refund", move.refund_no)],
    weight_of=lambda move: len(move.event),
    result=lambda row: bool(row.moved),
    sql=move(
        "refund",
        "refund_no",
        sets=[*_MOVED],
        extra={"released": _RELEASE, **opening("moved")},
    ),
)

_POSTPONE: Statement[_Postpone, None] = Statement(
    name="postpone_refund",
    columns=_KEY | {"due_time": "timestamptz", "tries": "integer"},
    keys_of=lambda later: [later.refund_no],
    result=lambda row: None,
    sql="""
    WITH i AS ({input}),
    held AS MATERIALIZED (
        SELECT i.ord FROM i JOIN refund r ON (r.refund_no, r.app_id) = (i.refund_no, i.app_id)
        WHERE r.due_time IS NOT NULL ORDER BY r.refund_no FOR NO KEY UPDATE OF r
    ),
    postponed AS (
        UPDATE refund r SET due_time = i.due_time, tries = i.tries
        FROM i JOIN held USING (ord) WHERE r.refund_no = i.refund_no
    )
    SELECT i.ord FROM i
    """,
)

_LIST = f"""
SELECT {_OLD} FROM refund r WHERE (r.trace_no, r.app_id) = (%(trace_no)s, %(app_id)s)
ORDER BY r.create_time, r.refund_no
"""
