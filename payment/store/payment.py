"""Payments: written once under their number, found, moved, looked at again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum, auto
from typing import Any

from mesh.db import Database, Row, Statement
from mesh.sql import Outcome, outcome, told
from payment.case import Case
from payment.model import Payment, Tool, TradeType
from payment.states import PaymentState
from payment.store.case import CASE_COLUMN, opening

COLUMNS = tuple(field.name for field in fields(Payment))


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptPayment:
    """What became of a number, and the payment that it stands for, if it is the same one."""

    outcome: Outcome
    payment: Payment | None


class Moved(StrEnum):
    """What became of a move."""

    DONE = auto()
    STALE = auto()  # Somebody else moved it first; nothing was done.
    BEATEN = auto()  # It would have won a trade that another payment has won; nothing was done.


async def add_payment(db: Database, payment: Payment, *, fingerprint: bytes) -> KeptPayment:
    """Write the payment unless its number was seen. May say RACE."""
    names = _KEY | _WRITTEN
    new = _NewPayment(**{name: getattr(payment, name) for name in names}, fingerprint=fingerprint)
    kept = await db.ask(_ADD, new)
    if kept.outcome is Outcome.DONE:
        return KeptPayment(outcome=Outcome.DONE, payment=payment)
    return kept


async def seek_payment(db: Database, *, payment_no: str, fingerprint: bytes) -> KeptPayment:
    """Return what the number stands for, compared with `fingerprint`. RACE: for nothing."""
    return await db.ask(_SEEK, _Seek(payment_no=payment_no, fingerprint=fingerprint))


async def find_payment(db: Database, *, app_id: str, payment_no: str) -> Payment | None:
    """Return the payment, None when the app has none of this number."""
    return await db.ask(_FIND, _Key(app_id=app_id, payment_no=payment_no))


async def move_payment(
    db: Database, after: Payment, *, event: bytes = b"", case: Case | None = None
) -> Moved:
    """Bring the payment from the version before `after` to it, with its event and its case.

    One that succeeds wins its trade, for ever: `winner` has one row for each. Raises Rejected
    for a move that the state table does not have.
    """
    moved = _Move(
        payment_no=after.payment_no,
        app_id=after.app_id,
        trade_no=after.trade_no,
        version=after.version - 1,
        **{name: getattr(after, name) for name in _MOVED},
        event=event,
        new_case=case,
    )
    return await db.ask(_MOVE, moved)


async def find_winner(db: Database, *, app_id: str, trade_no: str) -> str:
    """Return the payment that has won the trade; empty when none has."""
    rows = await db.rows(_WINNER, app_id=app_id, trade_no=trade_no)
    return str(rows[0].payment_no) if rows else ""


async def postpone_payment(
    db: Database, *, app_id: str, payment_no: str, due_time: datetime, tries: int
) -> None:
    """Say when to look again at a payment that is still open; no change of the payment."""
    await db.ask(
        _POSTPONE,
        _Postpone(app_id=app_id, payment_no=payment_no, due_time=due_time, tries=tries),
    )


async def list_payments(db: Database, *, app_id: str, trace_no: str) -> Sequence[Payment]:
    """Return the payments of a trace, oldest first."""
    rows = await db.rows(_LIST, app_id=app_id, trace_no=trace_no)
    return [payment_of(row) for row in rows]


def payment_of(row: Row, *, prefix: str = "") -> Payment:
    """Return the record of a row that has `COLUMNS`, each after `prefix`."""
    values: dict[str, Any] = {name: getattr(row, prefix + name) for name in COLUMNS}
    values["state"] = PaymentState(values["state"])
    values["trade_type"] = TradeType(values["trade_type"])
    values["tool"] = Tool(values["tool"])
    return Payment(**values)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Key:
    app_id: str
    payment_no: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seek:
    payment_no: str
    fingerprint: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Postpone(_Key):
    due_time: datetime
    tries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _NewPayment(_Key):
    business_code: str
    trace_no: str
    trade_no: str
    trade_type: TradeType
    tool: Tool
    currency_code: str
    amount_minor: int
    merchant_id: str
    user_no: str
    subject: str
    product_code: str
    fee_minor: int
    state: PaymentState
    due_time: datetime | None
    create_time: datetime
    update_time: datetime
    fingerprint: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Move(_Key):
    trade_no: str
    version: int
    state: PaymentState
    cost_minor: int
    channel_code: str
    attempt_no: str
    attempt_state: str
    reported_minor: int
    reported_currency_code: str
    review_kind: str
    from_suspense: bool
    release_round: int
    failure_reason: str
    qr_code: str
    due_time: datetime | None
    event: bytes
    new_case: Case | None


_KEY = {"payment_no": "text", "app_id": "text"}
_WRITTEN = {
    "business_code": "text",
    "trace_no": "text",
    "trade_no": "text",
    "trade_type": "text",
    "tool": "text",
    "currency_code": "text",
    "amount_minor": "bigint",
    "merchant_id": "text",
    "user_no": "text",
    "subject": "text",
    "product_code": "text",
    "fee_minor": "bigint",
    "state": "text",
    "due_time": "timestamptz",
    "create_time": "timestamptz",
    "update_time": "timestamptz",
}
_MOVED = {
    "state": "text",
    "cost_minor": "bigint",
    "channel_code": "text",
    "attempt_no": "text",
    "attempt_state": "text",
    "reported_minor": "bigint",
    "reported_currency_code": "text",
    "review_kind": "text",
    "from_suspense": "boolean",
    "release_round": "integer",
    "failure_reason": "text",
    "qr_code": "text",
    "due_time": "timestamptz",
}
_NEW = ", ".join([*_KEY, *_WRITTEN, "fingerprint"])
_OLD = ", ".join(f"p.{name}" for name in COLUMNS)


def _kept(row: Row) -> KeptPayment:
    result = Outcome(row.outcome)
    return KeptPayment(
        outcome=result, payment=payment_of(row) if result is Outcome.REPLAY else None
    )


# A statement cannot see a row that was committed while it waited for that row's key: then
# neither `written` nor `p` has it, which is a race. The owner is part of the fingerprint, so
# another app's payment of this number is another content.
_ADD: Statement[_NewPayment, KeptPayment] = Statement(
    name="add_payment",
    columns=_KEY | _WRITTEN | {"fingerprint": "bytea"},
    keys_of=lambda new: [new.payment_no],
    result=_kept,
    sql=f"""
    WITH i AS ({{input}}),
    written AS (
        INSERT INTO payment ({_NEW}) SELECT {_NEW} FROM i ORDER BY payment_no
        ON CONFLICT DO NOTHING RETURNING payment_no
    )
    SELECT i.ord, {outcome(won="w.payment_no", key="p")}, {_OLD}
    FROM i
    LEFT JOIN written w ON w.payment_no = i.payment_no
    LEFT JOIN payment p ON p.payment_no = i.payment_no
    """,
)

_SEEK: Statement[_Seek, KeptPayment] = Statement(
    name="seek_payment",
    columns={"payment_no": "text", "fingerprint": "bytea"},
    result=_kept,
    sql=f"""
    WITH i AS ({{input}})
    SELECT i.ord, {outcome(won="NULL", key="p")}, {_OLD}
    FROM i LEFT JOIN payment p ON p.payment_no = i.payment_no
    """,
)

_FIND: Statement[_Key, Payment | None] = Statement(
    name="find_payment",
    columns=_KEY,
    result=lambda row: payment_of(row) if row.payment_no else None,
    sql=f"""
    WITH i AS ({{input}})
    SELECT i.ord, {_OLD}
    FROM i LEFT JOIN payment p ON (p.payment_no, p.app_id) = (i.payment_no, i.app_id)
    """,
)

# Who succeeds takes the trade's row in `winner`, or learns who has it: a conflict that is
# updated to what it was waits for the other and then sees it, which DO NOTHING would not.
_OPENING = "".join(f"{name} AS ({body}),\n" for name, body in opening("moved").items())
_MOVE: Statement[_Move, Moved] = Statement(
    name="move_payment",
    columns=_KEY
    | {"trade_no": "text", "version": "bigint"}
    | _MOVED
    | {"event": "bytea"}
    | CASE_COLUMN,
    keys_of=lambda move: [move.payment_no, move.trade_no],
    weight_of=lambda move: len(move.event),
    result=lambda row: Moved(row.result),
    sql=f"""
    WITH i AS ({{input}}),
    held AS MATERIALIZED (
        SELECT i.* FROM i JOIN payment p ON (p.payment_no, p.app_id) = (i.payment_no, i.app_id)
        WHERE p.version = i.version ORDER BY p.payment_no FOR NO KEY UPDATE OF p
    ),
    won AS (
        INSERT INTO winner AS w (trade_no, app_id, payment_no)
        SELECT trade_no, app_id, payment_no FROM held
        WHERE state = '{PaymentState.SUCCEEDED}' ORDER BY trade_no
        ON CONFLICT (trade_no) DO UPDATE SET payment_no = w.payment_no
        RETURNING payment_no
    ),
    moved AS (
        UPDATE payment p
        SET {", ".join(f"{name} = i.{name}" for name in _MOVED)}, version = i.version + 1,
            update_time = business_now()
        FROM held i WHERE p.payment_no = i.payment_no
          AND (i.state <> '{PaymentState.SUCCEEDED}'
               OR i.payment_no IN (SELECT payment_no FROM won))
        RETURNING i.ord
    ),
    {_OPENING}{told("moved")}
    SELECT i.ord, CASE WHEN moved.ord IS NOT NULL THEN '{Moved.DONE}'
                       WHEN held.ord IS NOT NULL THEN '{Moved.BEATEN}'
                       ELSE '{Moved.STALE}' END AS result
    FROM i LEFT JOIN moved USING (ord) LEFT JOIN held USING (ord)
    """,
)

_WINNER = """
SELECT payment_no FROM winner WHERE (trade_no, app_id) = (%(trade_no)s, %(app_id)s)
"""

# No new version: the payment itself is as it was, and whoever moves it must not lose to us.
_POSTPONE: Statement[_Postpone, None] = Statement(
    name="postpone_payment",
    columns=_KEY | {"due_time": "timestamptz", "tries": "integer"},
    keys_of=lambda later: [later.payment_no],
    result=lambda row: None,
    sql="""
    WITH i AS ({input}),
    held AS MATERIALIZED (
        SELECT i.ord FROM i JOIN payment p ON (p.payment_no, p.app_id) = (i.payment_no, i.app_id)
        WHERE p.due_time IS NOT NULL ORDER BY p.payment_no FOR NO KEY UPDATE OF p
    ),
    postponed AS (
        UPDATE payment p SET due_time = i.due_time, tries = i.tries
        FROM i JOIN held USING (ord) WHERE p.payment_no = i.payment_no
    )
    SELECT i.ord FROM i
    """,
)

_LIST = f"""
SELECT {_OLD} FROM payment p WHERE (p.trace_no, p.app_id) = (%(trace_no)s, %(app_id)s)
ORDER BY p.create_time, p.payment_no
"""
