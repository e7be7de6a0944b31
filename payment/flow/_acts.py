"""How an operator does something to a case: once per request, noted in its history."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from mesh.context import acting, note
from mesh.errors import reused
from payment.case import Act, Case
from payment.desk import Desk
from payment.model import refuse
from payment.states import CaseEvent
from payment.store.case import find_case, find_request, move_case
from tongbao.payment.v1 import reasons_pb2 as reasons


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What every verb about a case brings: its own number, its content, the case, a text."""

    request_id: str
    fingerprint: bytes
    case_id: str
    text: str = ""


def operator() -> str:
    """Return who acts, as the history names operators."""
    return f"op:{acting().caller}"


async def the_case(desk: Desk, case_id: str) -> Case:
    """Return the case. Raises Refused(CASE_NOT_FOUND)."""
    case = await find_case(desk.db, case_id)
    if case is None:
        raise refuse(reasons.REASON_CASE_NOT_FOUND, case_id=case_id)
    note(trace_no=case.trace_no)
    return case


async def act_on(
    desk: Desk, request: Request, *, event: CaseEvent, change: Callable[[Case, datetime], Case]
) -> tuple[Case, bool]:
    """Return the case after `change`, and whether the request had been carried out before.

    Raises Refused, in this order: REQUEST_REUSED, CASE_NOT_FOUND, and what `change` raises.
    """
    act = Act(
        actor=operator(),
        text=request.text,
        request_id=request.request_id,
        fingerprint=request.fingerprint,
    )
    while True:
        before = await find_request(desk.db, act)
        if before == (request.case_id, request.fingerprint):
            return await the_case(desk, request.case_id), True
        if before is not None:
            raise reused(field="request_id", number=request.request_id)
        after = change(await the_case(desk, request.case_id), desk.clock.now())
        if await move_case(desk.db, after, event=event, act=act):
            return after, False
