"""Cases: opened once for what they are about, in the statement that saw it where there is one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mesh.db import Database, Row, Statement
from payment.model import Case, CaseKind, CaseState

# What the statement of a move takes beside the move.
CASE_COLUMNS = {
    "case_id": "text",
    "case_kind": "text",
    "trace_no": "text",
    "facts": "jsonb",
    "deadline": "timestamptz",
    "case_time": "timestamptz",
}


def case_fields(case: Case | None) -> dict[str, Any]:
    """Return the values of `CASE_COLUMNS`; an empty kind opens nothing."""
    return {
        "case_id": case.case_id if case else "",
        "case_kind": case.kind if case else "",
        "trace_no": case.trace_no if case else "",
        "facts": case.facts if case else {},
        "deadline": case.deadline if case else None,
        "case_time": case.create_time if case else None,
    }


def open_case(key: str) -> str:
    """Return the CTE that opens the cases of inputs that were `moved`, about their `key`.

    An order may run into the same conflict again after somebody had resolved it: then its
    case is opened again. It cannot be a repetition, because the move happened.
    """
    return f"""
        INSERT INTO exception_case AS c
            (case_id, kind, number, app_id, trace_no, facts, state, deadline, create_time,
             update_time)
        SELECT i.case_id, i.case_kind, i.{key}, i.app_id, i.trace_no, i.facts,
               '{CaseState.OPEN}', i.deadline, i.case_time, i.case_time
        FROM i JOIN moved USING (ord) WHERE i.case_kind <> '' ORDER BY i.case_kind, i.{key}
        ON CONFLICT (kind, number) DO UPDATE
        SET facts = excluded.facts, state = excluded.state, deadline = excluded.deadline,
            version = c.version + 1, update_time = excluded.update_time
    """


async def add_case(db: Database, case: Case) -> bool:
    """Open the case unless one of its kind and number was opened before; return whether."""
    return await db.ask(_ADD, _NewCase(app_id=case.app_id, number=case.number, **case_fields(case)))


async def list_cases(db: Database, *, app_id: str, trace_no: str) -> Sequence[Case]:
    """Return the cases of a trace, oldest first."""
    rows = await db.rows(_LIST, app_id=app_id, trace_no=trace_no)
    return [_case(row) for row in rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class _NewCase:
    app_id: str
    number: str
    case_id: str
    case_kind: str
    trace_no: str
    facts: Mapping[str, str]
    deadline: datetime
    case_time: datetime


def _case(row: Row) -> Case:
    return Case(
        case_id=row.case_id,
        kind=CaseKind(row.kind),
        number=row.number,
        app_id=row.app_id,
        trace_no=row.trace_no,
        facts=row.facts,
        state=CaseState(row.state),
        deadline=row.deadline,
        create_time=row.create_time,
        update_time=row.update_time,
    )


_ADD: Statement[_NewCase, bool] = Statement(
    name="add_case",
    columns={"app_id": "text", "number": "text"} | CASE_COLUMNS,
    keys_of=lambda new: [(new.case_kind, new.number)],
    result=lambda row: bool(row.opened),
    sql=f"""
    WITH i AS ({{input}}),
    opened AS (
        INSERT INTO exception_case
            (case_id, kind, number, app_id, trace_no, facts, state, deadline, create_time,
             update_time)
        SELECT case_id, case_kind, number, app_id, trace_no, facts, '{CaseState.OPEN}', deadline,
               case_time, case_time
        FROM i ORDER BY case_kind, number ON CONFLICT DO NOTHING RETURNING case_id
    )
    SELECT i.ord, opened.case_id IS NOT NULL AS opened FROM i LEFT JOIN opened USING (case_id)
    """,
)

_LIST = """
SELECT case_id, kind, number, app_id, trace_no, facts, state, deadline, create_time, update_time
FROM exception_case WHERE (trace_no, app_id) = (%(trace_no)s, %(app_id)s)
ORDER BY create_time, case_id
"""
