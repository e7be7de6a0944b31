"""Apply a refund's result: the one door for whatever channel says of a refund."""

from __future__ import annotations

from payment.attempt import Attempt, leg_of
from payment.desk import Desk
from payment.flow._cases import exhausted_case, refund_case
from payment.flow._moves import move_refund
from payment.model import Refund
from payment.store.case import add_case
from payment.store.refund import find_refund


async def apply_refund_result(
    desk: Desk, *, attempt: Attempt, seen: Refund | None = None
) -> Refund:
    """Apply `attempt` to its refund and return that as it is then.

    As `apply_result` does for payments. A refund that failed may be asked for again: its
    amount goes back to the payment in the same statement.
    """
    while True:
        refund = seen or await find_refund(desk.db, app_id=attempt.app_id, refund_no=attempt.number)
        assert refund is not None, f"{attempt.app_id} has no refund {attempt.number}"
        assert refund.app_id == attempt.app_id, f"{attempt.leg_no} is of another app"
        assert attempt.leg_no == leg_of(refund.refund_no), f"{attempt.leg_no} was never made"

        now = desk.clock.now()
        after, kind = refund.heard(attempt, now=now)
        case = None
        if kind is not None:
            case = await refund_case(desk, attempt, refund, kind=kind, now=now)
        if after is refund:
            if attempt.is_past_horizon and refund.due_time is not None:
                case = await exhausted_case(desk, attempt, refund, now=now)
            if case is not None:
                await add_case(desk.db, case)
            return refund
        if await move_refund(desk, before=refund, after=after, case=case):
            return after
        seen = None  # Somebody was quicker: read it again and decide anew.
