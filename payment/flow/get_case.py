"""Get a case, with everything somebody needs who has to decide about it."""

from __future__ import annotations

from collections.abc import Sequence

from payment.case import Case, GiveBack, Note
from payment.desk import Desk
from payment.flow._acts import the_case
from payment.flow.list_trace_entries import list_trace_entries
from payment.store.case import list_notes
from payment.store.give_back import list_give_backs
from tongbao.common.v1 import trace_pb2


async def get_case(
    desk: Desk, *, case_id: str
) -> tuple[Case, Sequence[Note], Sequence[GiveBack], Sequence[trace_pb2.TraceEntry]]:
    """Return the case, its history, its give-backs, and what payment has of its trace.

    Raises Refused(CASE_NOT_FOUND).
    """
    case = await the_case(desk, case_id)
    notes = await list_notes(desk.db, case_id)
    owner = {"app_id": case.app_id, "trace_no": case.trace_no}
    given = [one for one in await list_give_backs(desk.db, **owner) if one.case_id == case_id]
    return case, notes, given, await list_trace_entries(desk, **owner)
