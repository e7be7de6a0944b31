"""Statements about attempts and the legs they try.

Each statement takes many inputs and answers each of them by its ordinal; each function takes
one input and awaits its own answer. Rows are locked in the order of their keys, so that two
replicas cannot deadlock; what must be true together is written together.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from channel.model import Attempt, Operation
from channel.states import State
from mesh.db import Database, Row, Statement
from mesh.records import extend, replace
from mesh.sql import Outcome, move, outcome

COLUMNS = tuple(Attempt.__slots__)

_TYPES = dict.fromkeys(COLUMNS, "text") | {
    "amount_minor": "bigint",
    "reported_minor": "bigint",
    "cost_minor": "bigint",
    "version": "bigint",
    "due_time": "timestamptz",
    "tries": "integer",
    "sends": "integer",
    "sent_time": "timestamptz",
    "closing": "boolean",
    "create_time": "timestamptz",
    "update_time": "timestamptz",
}
# What a move may change. Everything else is as it was asked.
_CHANGING = {
    name: _TYPES[name]
    for name in (
        "reported_minor",
        "reported_currency_code",
        "provider_no",
        "qr_code",
        "failure_reason",
        "state",
        "due_time",
        "tries",
        "sends",
        "sent_time",
        "closing",
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What became of a leg, and its latest attempt as it is now. RACE has none."""

    outcome: Outcome
    attempt: Attempt | None


async def open_leg(db: Database, attempt: Attempt, *, fingerprint: bytes) -> Kept:
    """Write the leg and its first attempt unless the leg was seen. May say RACE."""
    kept = await db.ask(_OPEN_LEG, extend(_NewLeg, attempt, fingerprint=fingerprint))
    return replace(kept, attempt=attempt) if kept.outcome is Outcome.DONE else kept


async def find_leg(db: Database, leg_no: str, *, app_id: str, fingerprint: bytes = b"") -> Kept:
    """Return what the leg stands for, compared with `fingerprint`. RACE: for nothing."""
    return await db.ask(_FIND_LEG, _Seek(leg_no=leg_no, app_id=app_id, fingerprint=fingerprint))


async def find_attempt(db: Database, attempt_no: str, *, app_id: str) -> Attempt | None:
    """Return the app's attempt as it is now."""
    return await db.ask(_FIND_ATTEMPT, _Find(attempt_no=attempt_no, app_id=app_id))


async def move_attempt(db: Database, attempt: Attempt, *, event: bytes) -> bool:
    """Write what changes of `attempt`, from the version before it, and publish `event`.

    False when somebody changed it first; then nothing was done.
    """
    return await db.ask(_MOVE_ATTEMPT, _Move(**_moved(attempt), event=event))


async def replace_attempt(db: Database, attempt: Attempt, *, following: Attempt) -> bool:
    """Write the end of `attempt` and the attempt `following` it under the same leg, at once.

    False when somebody changed `attempt` first; then nothing was done. Nothing is published:
    the leg goes on.
    """
    replacement = _Replacement(
        **_moved(attempt),
        event=b"",
        next_no=following.attempt_no,
        next_channel_code=following.channel_code,
        next_cost_minor=following.cost_minor,
        next_due_time=following.due_time,
        next_sent_time=following.sent_time,
    )
    return await db.ask(_REPLACE_ATTEMPT, replacement)


async def put_off(db: Database, attempt: Attempt, *, due_time: datetime, tries: int) -> None:
    """Write when to ask about `attempt` next, unless it has changed. Not a change itself."""
    assert due_time is not None, attempt.attempt_no
    later = _Later(
        attempt_no=attempt.attempt_no,
        app_id=attempt.app_id,
        version=attempt.version,
        due_time=due_time,
        tries=tries,
    )
    await db.ask(_PUT_OFF, later)


async def list_attempts(db: Database, *, app_id: str, trace_no: str) -> list[Attempt]:
    """Return the attempts of a trace, oldest first."""
    rows = await db.rows(_LIST_ATTEMPTS, app_id=app_id, trace_no=trace_no)
    return [attempt_of(row) for row in rows]


def attempt_of(row: Row) -> Attempt:
    """Return the attempt in a row that has COLUMNS."""
    fields = {name: getattr(row, name) for name in COLUMNS}
    fields |= {"operation": Operation(row.operation), "state": State(row.state)}
    return Attempt(**fields)


def columns_of(alias: str) -> str:
    """Return COLUMNS of a table or CTE, for a SELECT that `attempt_of` reads."""
    return ", ".join(f"{alias}.{name}" for name in COLUMNS)


@dataclass(frozen=True, slots=True, kw_only=True)
class _NewLeg(Attempt):
    fingerprint: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seek:
    leg_no: str
    app_id: str
    fingerprint: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Find:
    attempt_no: str
    app_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Move:
    attempt_no: str
    app_id: str
    version: int
    reported_minor: int
    reported_currency_code: str
    provider_no: str
    qr_code: str
    failure_reason: str
    state: State
    due_time: datetime | None
    tries: int
    sends: int
    sent_time: datetime
    closing: bool
    event: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Replacement(_Move):
    next_no: str
    next_channel_code: str
    next_cost_minor: int
    next_due_time: datetime | None
    next_sent_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class _Later:
    attempt_no: str
    app_id: str
    version: int
    due_time: datetime
    tries: int


def _moved(attempt: Attempt) -> dict[str, Any]:
    """Return the input of a move: `attempt` is as it will be, `version` the one before."""
    changed = {name: getattr(attempt, name) for name in _CHANGING}
    seen = {"attempt_no": attempt.attempt_no, "app_id": attempt.app_id}
    return {**seen, "version": attempt.version - 1, **changed}


def _kept(row: Row) -> Kept:
    attempt = attempt_of(row) if row.attempt_no is not None else None
    return Kept(outcome=Outcome(row.outcome), attempt=attempt)


# The insert into attempt_leg decides. What a statement writes it cannot see, so what it
# returns of `a` was there before; what it wrote is what it was given.
_OPEN_LEG: Statement[_NewLeg, Kept] = Statement(
    name="open_leg",
    columns=_TYPES | {"fingerprint": "bytea"},
    keys_of=lambda new: [new.leg_no],
    result=_kept,
    sql=f"""
    WITH i AS ({{input}}),
    won AS (
        INSERT INTO attempt_leg (leg_no, app_id, fingerprint, attempt_no)
        SELECT leg_no, app_id, fingerprint, attempt_no FROM i ORDER BY leg_no
        ON CONFLICT DO NOTHING RETURNING attempt_no
    ),
    written AS (
        INSERT INTO attempt ({", ".join(COLUMNS)})
        SELECT {columns_of("i")} FROM i JOIN won USING (attempt_no)
    )
    SELECT i.ord, {outcome(won="won.attempt_no", key="k")}, {columns_of("a")}
    FROM i
    LEFT JOIN won ON won.attempt_no = i.attempt_no
    LEFT JOIN attempt_leg k ON k.leg_no = i.leg_no
    LEFT JOIN attempt a ON a.attempt_no = k.attempt_no
    """,
)

_FIND_LEG: Statement[_Seek, Kept] = Statement(
    name="find_leg",
    columns={"leg_no": "text", "app_id": "text", "fingerprint": "bytea"},
    result=_kept,
    sql=f"""
    WITH i AS ({{input}})
    SELECT i.ord, {outcome(won="NULL", key="k")}, {columns_of("a")}
    FROM i
    LEFT JOIN attempt_leg k ON k.leg_no = i.leg_no
    LEFT JOIN attempt a ON (a.attempt_no, a.app_id) = (k.attempt_no, i.app_id)
    """,
)

_FIND_ATTEMPT: Statement[_Find, Attempt | None] = Statement(
    name="find_attempt",
    columns={"attempt_no": "text", "app_id": "text"},
    result=lambda row: attempt_of(row) if row.attempt_no is not None else None,
    sql=f"""
    WITH i AS ({{input}})
    SELECT i.ord, {columns_of("a")}
    FROM i LEFT JOIN attempt a ON (a.attempt_no, a.app_id) = (i.attempt_no, i.app_id)
    """,
)

_SEEN = {"attempt_no": "text", "app_id": "text", "version": "bigint"}

_MOVE_ATTEMPT: Statement[_Move, bool] = Statement(
    name="move_attempt",
    columns=_SEEN | _CHANGING | {"event": "bytea"},
    keys_of=lambda moved: [moved.attempt_no],
    weight_of=lambda moved: len(moved.event),
    result=lambda row: bool(row.moved),
    sql=move("attempt", "attempt_no", sets=list(_CHANGING)),
)

_SAME_LEG = (
    "leg_no, app_id, business_code, user_no, subject, trace_no, operation, tool, currency_code,"
    " amount_minor, original_attempt_no"
)

_REPLACE_ATTEMPT: Statement[_Replacement, bool] = Statement(
    name="replace_attempt",
    columns=_SEEN
    | _CHANGING
    | {
        "event": "bytea",
        "next_no": "text",
        "next_channel_code": "text",
        "next_cost_minor": "bigint",
        "next_due_time": "timestamptz",
        "next_sent_time": "timestamptz",
    },
    keys_of=lambda moved: [moved.attempt_no],
    result=lambda row: bool(row.moved),
    sql=move(
        "attempt",
        "attempt_no",
        sets=list(_CHANGING),
        extra={
            # Reads the row as it was before; what is copied never changes.
            "following": f"""
            INSERT INTO attempt (attempt_no, {_SAME_LEG}, channel_code, cost_minor, state,
                                 due_time, sent_time, create_time, update_time)
            SELECT i.next_no, {", ".join(f"a.{name.strip()}" for name in _SAME_LEG.split(","))},
                   i.next_channel_code, i.next_cost_minor, '{State.PROCESSING}',
                   i.next_due_time, i.next_sent_time, i.next_sent_time, i.next_sent_time
            FROM i JOIN moved USING (ord) JOIN attempt a ON a.attempt_no = i.attempt_no
            RETURNING leg_no, attempt_no
            """,
            "led": """
            UPDATE attempt_leg k SET attempt_no = f.attempt_no
            FROM following f WHERE k.leg_no = f.leg_no
            """,
        },
    ),
)

_PUT_OFF: Statement[_Later, None] = Statement(
    name="put_off",
    columns=_SEEN | {"due_time": "timestamptz", "tries": "integer"},
    keys_of=lambda later: [later.attempt_no],
    result=lambda _: None,
    sql=f"""
    WITH i AS ({{input}}),
    held AS MATERIALIZED (
        SELECT i.ord FROM i JOIN attempt t ON (t.attempt_no, t.app_id) = (i.attempt_no, i.app_id)
        WHERE t.version = i.version AND t.state = '{State.PROCESSING}'
        ORDER BY t.attempt_no FOR NO KEY UPDATE OF t
    ),
    put AS (
        UPDATE attempt t SET due_time = i.due_time, tries = i.tries
        FROM i JOIN held USING (ord) WHERE t.attempt_no = i.attempt_no
    )
    SELECT ord FROM i
    """,
)

_LIST_ATTEMPTS = f"""
SELECT {columns_of("a")} FROM attempt a
WHERE a.trace_no = %(trace_no)s AND a.app_id = %(app_id)s ORDER BY a.create_time, a.attempt_no
"""
