"""Resolve: one person decides what moves no money."""

from __future__ import annotations

from datetime import datetime

from payment.case import MOVES_MONEY, Case, Resolution
from payment.desk import Desk
from payment.flow._acts import Request, act_on
from payment.flow.execute_case import execute_case
from payment.model import next_look, refuse
from payment.states import CaseEvent, CaseState
from tongbao.payment.v1 import reasons_pb2 as reasons


async def resolve_case(
    desk: Desk, request: Request, *, resolution: Resolution
) -> tuple[Case, bool]:
    """Have RESEND or CLOSE_AS_IS carried out; return the case, and whether it was known.

    Raises Refused, in this order: REQUEST_REUSED, CASE_NOT_FOUND, CASE_NOT_READY,
    SECOND_PERSON_NEEDED, RESOLUTION_NOT_ALLOWED.
    """

    def change(case: Case, now: datetime) -> Case:
        case.check_state(CaseState.OPEN)
        if resolution in MOVES_MONEY:
            raise refuse(
                reasons.REASON_SECOND_PERSON_NEEDED,
                case_id=case.case_id,
                problem="propose it, and have another operator approve it",
            )
        case.check_resolution(resolution)
        due_time = next_look(0, now=now)
        return case.moved(CaseEvent.BEGIN, now=now, resolution=resolution, due_time=due_time)

    case, known = await act_on(desk, request, event=CaseEvent.BEGIN, change=change)
    if not known and case.state is CaseState.EXECUTING:
        case = await execute_case(desk, case=case)
    return case, known
