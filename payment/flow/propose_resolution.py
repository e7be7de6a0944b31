"""Propose: the first of two persons says how money of a case should move."""

from __future__ import annotations

from datetime import datetime

from payment.case import Case, Resolution
from payment.desk import Desk
from payment.flow._acts import Request, act_on, operator
from payment.states import CaseEvent, CaseState


async def propose_resolution(
    desk: Desk, request: Request, *, resolution: Resolution
) -> tuple[Case, bool]:
    """Put the resolution down for a second person; return the case, and whether it was known.

    Its rule does nothing any more: a person has taken the case over.

    Raises Refused, in this order: REQUEST_REUSED, CASE_NOT_FOUND, CASE_NOT_READY,
    RESOLUTION_NOT_ALLOWED.
    """

    def change(case: Case, now: datetime) -> Case:
        case.check_state(CaseState.OPEN)
        case.check_resolution(resolution)
        return case.moved(CaseEvent.PROPOSE, now=now, resolution=resolution, proposed_by=operator())

    return await act_on(desk, request, event=CaseEvent.PROPOSE, change=change)
