"""Apply a result: the one door for whatever channel says of a payment, whenever it says it."""

from __future__ import annotations

from payment.desk import Desk
from payment.flow._moves import conflict, move_payment
from payment.model import Attempt, Payment, leg_of
from payment.store.case import add_case
from payment.store.payment import find_payment


async def apply_result(desk: Desk, *, attempt: Attempt, seen: Payment | None = None) -> Payment:
    """Apply `attempt` to its payment and return that as it is then.

    The same word twice, from the call and from the event, or words in another order change
    nothing more. What does not fit in amount or currency, what comes after FAILED or CLOSED
    and what takes a success back leads to REVIEW with a case. An attempt of no payment of
    its app, or of a leg we never made, is a bug.

    `seen` spares reading the payment when the caller just did.
    """
    while True:
        payment = seen or await find_payment(
            desk.db, app_id=attempt.app_id, payment_no=attempt.number
        )
        assert payment is not None, f"{attempt.app_id} has no payment {attempt.number}"
        assert payment.app_id == attempt.app_id, f"{attempt.leg_no} is of another app"
        assert attempt.leg_no == leg_of(payment.payment_no), f"{attempt.leg_no} was never made"

        now = desk.clock.now()
        after, kind = payment.heard(attempt, now=now)
        case = conflict(attempt, payment, kind=kind, now=now)
        if after is payment:
            if case is not None:
                await add_case(desk.db, case)
            return payment
        if await move_payment(desk, before=payment, after=after, case=case):
            return after
        seen = None  # Somebody was quicker: read it again and decide anew.
