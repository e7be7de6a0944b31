"""Cases: opened once for what they are about, in the statement that saw it where there is one.

Every version of a case has its line in the history, written by the statement that makes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from mesh.db import Database, Row, Statement
from mesh.sql import told
from payment.case import Act, Action, Case, CaseKind, Note, Place, Resolution, Subject
from payment.states import CaseEvent, CaseState

COLUMNS = tuple(field.name for field in fields(Case))
# What the statement of a move takes beside the move: a whole case, mostly none.
CASE_COLUMN = {"new_case": "jsonb"}
_TYPES = dict.fromkeys(COLUMNS, "text") | {
    "facts": "jsonb",
    "parked_minor": "bigint",
    "version": "bigint",
    "rounds": "integer",
    "due_time": "timestamptz",
    "tries": "integer",
    "deadline": "timestamptz",
    "create_time": "timestamptz",
    "update_time": "timestamptz",
}
# Of a case that is opened again everything is as seen now, but who it is and its rounds.
_KEPT = ("case_id", "kind", "number", "version", "rounds", "create_time")
_ANEW = [name for name in COLUMNS if name not in _KEPT]
_REOPENED = f"{', '.join(f'{name} = excluded.{name}' for name in _ANEW)}, version = c.version + 1"
_SYSTEM = "payment"


def opening(source: str) -> Mapping[str, str]:
    """Return the CTEs that open the cases of inputs that `source` wrote, and note it.

    An order may run into the same conflict again after somebody had resolved it: then its
    case is opened again. It cannot be a repetition, because the order moved.
    """
    typed = ", ".join(f"{name} {kind}" for name, kind in _TYPES.items())
    opened = f"""
        INSERT INTO exception_case AS c ({", ".join(COLUMNS)})
        SELECT {", ".join(f"x.{name}" for name in COLUMNS)}
        FROM i JOIN {source} USING (ord)
        CROSS JOIN LATERAL jsonb_to_record(i.new_case) AS x ({typed})
        WHERE i.new_case IS NOT NULL ORDER BY x.kind, x.number
        ON CONFLICT (kind, number) DO UPDATE
        SET {_REOPENED}
        RETURNING c.case_id, c.version, c.update_time
    """
    return {"opened": opened, "noted": _NOTE_OPENED}


_NOTE_OPENED = f"""
        INSERT INTO case_note (case_id, version, actor, event, state, resolution, text, create_time)
        SELECT case_id, version, '{_SYSTEM}', '{CaseEvent.OPENED}', '{CaseState.OPEN}', '', '',
               update_time FROM opened
"""


async def add_case(db: Database, case: Case, *, event: bytes = b"") -> bool:
    """Open the case, with its event, unless one of its kind and number was opened before.

    What an account refused as a restored success is opened again if it was known as another one.
    """
    new = _NewCase(number=case.number, kind=case.kind, new_case=case, event=event)
    return await db.ask(_ADD, new)


async def find_case(db: Database, case_id: str) -> Case | None:
    """Return the case, None when there is none; whose it is says its `app_id`."""
    rows = await db.rows(_FIND, case_id=case_id)
    return case_of(rows[0]) if rows else None


async def move_case(db: Database, after: Case, *, event: CaseEvent, act: Act) -> bool:
    """Bring the case from the version before `after` to it, and note who did it.

    False, and nothing done, when somebody else moved it first, or when the request of `act`
    is known already. Raises Rejected for a move that the state table does not have.
    """
    moved = _Move(
        case_id=after.case_id,
        app_id=after.app_id,
        version=after.version - 1,
        **{name: getattr(after, name) for name in _MOVED},
        actor=act.actor,
        event=event,
        text=act.text,
        request_id=act.request_id,
        fingerprint=act.fingerprint,
    )
    return await db.ask(_MOVE, moved)


async def postpone_case(db: Database, case: Case, *, due_time: datetime) -> None:
    """Say when to look again at a case that is being carried out; no change of the case."""
    await db.rows(
        _POSTPONE, case_id=case.case_id, app_id=case.app_id, version=case.version, due_time=due_time
    )


async def find_request(db: Database, act: Act) -> tuple[str, bytes] | None:
    """Return case and content of what the operator has done under this request id before."""
    rows = await db.rows(_REQUEST, actor=act.actor, request_id=act.request_id)
    return (rows[0].case_id, rows[0].fingerprint) if rows else None


async def list_notes(db: Database, case_id: str) -> Sequence[Note]:
    """Return the history of a case, oldest first."""
    return [_note(row) for row in await db.rows(_NOTES, case_id=case_id)]


async def list_cases(db: Database, *, app_id: str, trace_no: str) -> Sequence[Case]:
    """Return the cases of a trace, oldest first."""
    rows = await db.rows(_LIST, app_id=app_id, trace_no=trace_no)
    return [case_of(row) for row in rows]


def case_of(row: Row) -> Case:
    """Return the record of a row that has `COLUMNS`."""
    values: dict[str, Any] = {name: getattr(row, name) for name in COLUMNS}
    kinds = {
        "kind": CaseKind,
        "subject": Subject,
        "parked_on": Place,
        "state": CaseState,
        "action": Action,
        "resolution": Resolution,
    }
    return Case(**values | {name: kind(values[name]) for name, kind in kinds.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class _NewCase:
    number: str
    kind: CaseKind
    new_case: Case
    event: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Move:
    case_id: str
    app_id: str
    version: int
    state: CaseState
    action: Action
    owner: str
    resolution: Resolution
    proposed_by: str
    rounds: int
    due_time: datetime | None
    tries: int
    update_time: datetime
    actor: str
    event: CaseEvent
    text: str
    request_id: str
    fingerprint: bytes


def _note(row: Row) -> Note:
    return Note(
        version=row.version,
        actor=row.actor,
        event=CaseEvent(row.event),
        state=CaseState(row.state),
        resolution=Resolution(row.resolution),
        text=row.text,
        create_time=row.create_time,
    )


# A charge is repeated by channel for ever; it is a case once. A success is refused at first, and
# once more when it was taken back and restored: told again, the older one opens nothing.
_ADD: Statement[_NewCase, bool] = Statement(
    name="add_case",
    columns={"number": "text", "kind": "text", "event": "bytea"} | CASE_COLUMN,
    keys_of=lambda new: [(new.kind, new.number)],
    weight_of=lambda new: len(new.event),
    result=lambda row: bool(row.opened),
    sql=f"""
    WITH i AS ({{input}}),
    opened AS (
        INSERT INTO exception_case AS c ({", ".join(COLUMNS)})
        SELECT {", ".join(f"x.{name}" for name in COLUMNS)}
        FROM i CROSS JOIN LATERAL jsonb_to_record(i.new_case)
            AS x ({", ".join(f"{name} {kind}" for name, kind in _TYPES.items())})
        ORDER BY x.kind, x.number
        ON CONFLICT (kind, number) DO UPDATE
        SET {_REOPENED}
        WHERE right(excluded.facts->>'template', 9) = '_RESTORED'
          AND c.facts->>'template' <> excluded.facts->>'template'
          AND c.state <> 'executing'
        RETURNING case_id, kind, number, version, update_time
    ),
    noted AS ({_NOTE_OPENED}),
    fresh AS (SELECT i.ord, c.case_id FROM i JOIN opened c USING (kind, number)),
    {told("fresh")}
    SELECT i.ord, fresh.case_id IS NOT NULL AS opened FROM i LEFT JOIN fresh USING (ord)
    """,
)

_MOVED = {
    "state": "text",
    "action": "text",
    "owner": "text",
    "resolution": "text",
    "proposed_by": "text",
    "rounds": "integer",
    "due_time": "timestamptz",
    "tries": "integer",
    "update_time": "timestamptz",
}
_MOVE: Statement[_Move, bool] = Statement(
    name="move_case",
    columns={"case_id": "text", "app_id": "text", "version": "bigint"}
    | _MOVED
    | {"actor": "text", "event": "text", "text": "text", "request_id": "text"}
    | {"fingerprint": "bytea"},
    keys_of=lambda move: [move.case_id, (move.actor, move.request_id or move.case_id)],
    result=lambda row: bool(row.moved),
    sql=f"""
    WITH i AS ({{input}}),
    held AS MATERIALIZED (
        SELECT i.ord FROM i
        JOIN exception_case c ON (c.case_id, c.app_id) = (i.case_id, i.app_id)
        WHERE c.version = i.version ORDER BY c.case_id FOR NO KEY UPDATE OF c
    ),
    noted AS (
        INSERT INTO case_note (case_id, version, actor, event, state, resolution, text,
                               request_id, fingerprint, create_time)
        SELECT i.case_id, i.version + 1, i.actor, i.event, i.state, i.resolution, i.text,
               i.request_id, i.fingerprint, i.update_time
        FROM i JOIN held USING (ord) ORDER BY i.case_id
        ON CONFLICT DO NOTHING RETURNING case_id
    ),
    moved AS (
        UPDATE exception_case c
        SET {", ".join(f"{name} = i.{name}" for name in _MOVED)}, version = i.version + 1
        FROM i JOIN noted USING (case_id) WHERE c.case_id = i.case_id RETURNING i.ord
    )
    SELECT i.ord, moved.ord IS NOT NULL AS moved FROM i LEFT JOIN moved USING (ord)
    """,
)

_POSTPONE = f"""
UPDATE exception_case SET due_time = %(due_time)s, tries = tries + 1
WHERE (case_id, app_id, version) = (%(case_id)s, %(app_id)s, %(version)s)
  AND state = '{CaseState.EXECUTING}'
"""

_REQUEST = """
SELECT case_id, fingerprint FROM case_note
WHERE (actor, request_id) = (%(actor)s, %(request_id)s)
"""

_NOTES = """
SELECT version, actor, event, state, resolution, text, create_time FROM case_note
WHERE case_id = %(case_id)s ORDER BY version
"""

_FIND = f"SELECT {', '.join(COLUMNS)} FROM exception_case WHERE case_id = %(case_id)s"

_LIST = f"""
SELECT {", ".join(COLUMNS)} FROM exception_case
WHERE (trace_no, app_id) = (%(trace_no)s, %(app_id)s) ORDER BY create_time, case_id
"""
