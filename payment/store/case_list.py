"""Cases by what operators look for, in pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from mesh.db import Database
from payment.case import Case
from payment.states import CaseState
from payment.store.case import COLUMNS, case_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which cases are wanted. What is empty or None does not narrow."""

    kinds: Sequence[str] = ()
    states: Sequence[CaseState] = ()
    app_id: str = ""
    owner: str = ""
    opened_before: datetime | None = None
    overdue: bool = False


async def page_of_cases(
    db: Database, *, wanted: Filter, after: str, size: int, now: datetime
) -> Sequence[Case]:
    """Return up to `size` cases behind the case `after`, in the order of their opening."""
    rows = await db.rows(
        _PAGE,
        kinds=list(wanted.kinds),
        states=[state.value for state in wanted.states],
        app_id=wanted.app_id,
        owner=wanted.owner,
        opened_before=wanted.opened_before,
        overdue=wanted.overdue,
        now=now,
        after=after,
        size=size,
    )
    return [case_of(row) for row in rows]


async def count_overdue(db: Database, *, now: datetime) -> dict[str, int]:
    """Return by kind how many unresolved cases are past their deadline."""
    return {row.kind: row.cases for row in await db.rows(_OVERDUE, now=now)}


_PAGE = f"""
SELECT {", ".join(COLUMNS)} FROM exception_case
WHERE (%(after)s::text = '' OR (create_time, case_id) >
       (SELECT create_time, case_id FROM exception_case WHERE case_id = %(after)s::text))
  AND (cardinality(%(kinds)s::text[]) = 0 OR kind = ANY (%(kinds)s::text[]))
  AND (cardinality(%(states)s::text[]) = 0 OR state = ANY (%(states)s::text[]))
  AND (%(app_id)s::text = '' OR app_id = %(app_id)s::text)
  AND (%(owner)s::text = '' OR owner = %(owner)s::text)
  AND (%(opened_before)s::timestamptz IS NULL OR create_time < %(opened_before)s::timestamptz)
  AND (NOT %(overdue)s::boolean OR (state <> '{CaseState.RESOLVED}' AND deadline < %(now)s))
ORDER BY create_time, case_id LIMIT %(size)s
"""

_OVERDUE = f"""
SELECT kind, count(*)::integer AS cases FROM exception_case
WHERE state <> '{CaseState.RESOLVED}' AND deadline < %(now)s GROUP BY kind
"""
