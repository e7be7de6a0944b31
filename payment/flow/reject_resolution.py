"""Reject: what was proposed is not done, and the case is open again."""

from __future__ import annotations

from datetime import datetime

from payment.case import Action, Case, Resolution
from payment.desk import Desk
from payment.flow._acts import Request, act_on
from payment.model import refuse
from payment.states import CaseEvent, CaseState
from tongbao.payment.v1 import reasons_pb2 as reasons


async def reject_resolution(desk: Desk, request: Request, *, version: int) -> tuple[Case, bool]:
    """Take the proposal of `version` away; return the case, and whether it was known.

    Whoever proposed it may take it back too. Its rule does not come back.

    Raises Refused, in this order: REQUEST_REUSED, CASE_NOT_FOUND, CASE_NOT_READY.
    """

    def change(case: Case, now: datetime) -> Case:
        case.check_state(CaseState.PROPOSED)
        if case.version != version:
            raise refuse(reasons.REASON_CASE_NOT_READY, case_id=case.case_id, state=case.state.name)
        return case.moved(
            CaseEvent.REJECT,
            now=now,
            action=Action.MANUAL,
            resolution=Resolution.NONE,
            proposed_by="",
        )

    return await act_on(desk, request, event=CaseEvent.REJECT, change=change)
