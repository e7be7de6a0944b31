"""Assign: say who takes care of a case."""

from __future__ import annotations

from datetime import datetime

from payment.case import Case
from payment.desk import Desk
from payment.flow._acts import Request, act_on
from payment.states import CaseEvent, CaseState

_UNRESOLVED = [state for state in CaseState if state is not CaseState.RESOLVED]


async def assign_case(desk: Desk, request: Request, *, owner: str) -> tuple[Case, bool]:
    """Give the case to `owner`, or to nobody; return it, and whether it was known.

    Raises Refused, in this order: REQUEST_REUSED, CASE_NOT_FOUND, CASE_NOT_READY.
    """

    def change(case: Case, now: datetime) -> Case:
        case.check_state(*_UNRESOLVED)
        return case.moved(CaseEvent.ASSIGN, now=now, owner=owner)

    return await act_on(desk, request, event=CaseEvent.ASSIGN, change=change)
