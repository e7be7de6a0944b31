"""Approve: the second of two persons agrees, and it is carried out."""

from __future__ import annotations

from datetime import datetime

from payment.case import ROUNDS_MAX, Case
from payment.desk import Desk
from payment.flow._acts import Request, act_on, operator
from payment.flow.execute_case import execute_case
from payment.model import next_look, refuse
from payment.states import CaseEvent, CaseState
from tongbao.payment.v1 import reasons_pb2 as reasons


async def approve_resolution(desk: Desk, request: Request, *, version: int) -> tuple[Case, bool]:
    """Have what is proposed at `version` carried out; return the case as far as it came.

    What is not done then, the case's timer goes on with.

    Raises Refused, in this order: REQUEST_REUSED, CASE_NOT_FOUND, CASE_NOT_READY,
    SECOND_PERSON_NEEDED.
    """

    def change(case: Case, now: datetime) -> Case:
        case.check_state(CaseState.PROPOSED)
        if case.version != version or case.rounds + case.begins_round > ROUNDS_MAX:
            raise refuse(reasons.REASON_CASE_NOT_READY, case_id=case.case_id, state=case.state.name)
        if case.proposed_by == operator():
            raise refuse(
                reasons.REASON_SECOND_PERSON_NEEDED,
                case_id=case.case_id,
                problem="whoever proposed it cannot approve it",
            )
        return case.moved(
            CaseEvent.APPROVE,
            now=now,
            rounds=case.rounds + case.begins_round,
            due_time=next_look(0, now=now),
        )

    case, known = await act_on(desk, request, event=CaseEvent.APPROVE, change=change)
    if not known and case.state is CaseState.EXECUTING:
        case = await execute_case(desk, case=case)
    return case, known
