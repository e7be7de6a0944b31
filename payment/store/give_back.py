"""Give-backs: written once under the number that follows from the attempt, moved by version."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from mesh.db import Database, Row, Statement
from mesh.sql import move
from payment.case import Case, GiveBack, Place
from payment.states import GiveBackState
from payment.store.case import CASE_COLUMN, opening

COLUMNS = tuple(field.name for field in fields(GiveBack))


async def add_give_back(db: Database, new: GiveBack) -> GiveBack:
    """Write the give-back unless its number is there; return the one that is there then."""
    values = {name: getattr(new, name) for name in COLUMNS}
    await db.rows(_ADD, **values)
    found = await find_give_back(db, app_id=new.app_id, give_back_no=new.give_back_no)
    assert found is not None, f"{new.attempt_no} is given back under another number"
    return found


async def find_give_back(db: Database, *, app_id: str, give_back_no: str) -> GiveBack | None:
    """Return the give-back, None when the app has none of this number."""
    rows = await db.rows(_FIND, app_id=app_id, give_back_no=give_back_no)
    return _give_back(rows[0]) if rows else None


async def move_give_back(
    db: Database, after: GiveBack, *, event: bytes = b"", case: Case | None = None
) -> bool:
    """Bring the give-back from the version before `after` to it, with its event and its case.

    False, and nothing done, when somebody else moved it first. Raises Rejected for a move
    that the state table does not have.
    """
    moved = _Move(
        give_back_no=after.give_back_no,
        app_id=after.app_id,
        version=after.version - 1,
        state=after.state,
        refund_attempt_no=after.refund_attempt_no,
        failure_reason=after.failure_reason,
        event=event,
        new_case=case,
    )
    return await db.ask(_MOVE, moved)


async def list_give_backs(db: Database, *, app_id: str, trace_no: str) -> Sequence[GiveBack]:
    """Return the give-backs of a trace, oldest first."""
    rows = await db.rows(_LIST, app_id=app_id, trace_no=trace_no)
    return [_give_back(row) for row in rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Move:
    give_back_no: str
    app_id: str
    version: int
    state: GiveBackState
    refund_attempt_no: str
    failure_reason: str
    event: bytes
    new_case: Case | None


def _give_back(row: Row) -> GiveBack:
    values: dict[str, Any] = {name: getattr(row, name) for name in COLUMNS}
    values |= {"source": Place(row.source), "state": GiveBackState(row.state)}
    return GiveBack(**values)


_ADD = f"""
INSERT INTO give_back ({", ".join(COLUMNS)})
VALUES ({", ".join(f"%({name})s" for name in COLUMNS)}) ON CONFLICT DO NOTHING
"""

_FIND = f"""
SELECT {", ".join(COLUMNS)} FROM give_back
WHERE (give_back_no, app_id) = (%(give_back_no)s, %(app_id)s)
"""

_MOVED = {"state": "text", "refund_attempt_no": "text", "failure_reason": "text"}
_MOVE: Statement[_Move, bool] = Statement(
    name="move_give_back",
    columns={"give_back_no": "text", "app_id": "text", "version": "bigint"}
    | _MOVED
    | {"event": "bytea"}
    | CASE_COLUMN,
    keys_of=lambda move: [move.give_back_no],
    weight_of=lambda move: len(move.event),
    result=lambda row: bool(row.moved),
    sql=move("give_back", "give_back_no", sets=[*_MOVED], extra=opening("moved")),
)

_LIST = f"""
SELECT {", ".join(COLUMNS)} FROM give_back
WHERE (trace_no, app_id) = (%(trace_no)s, %(app_id)s) ORDER BY create_time, give_back_no
"""
