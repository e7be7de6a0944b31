"""Resume: what a timer does for a payment that is not decided."""

from __future__ import annotations

from payment.desk import Desk
from payment.flow.advance_payment import advance_payment
from payment.model import next_look
from payment.store.payment import find_payment, postpone_payment


async def resume_payment(desk: Desk, *, app_id: str, payment_no: str) -> None:
    """Drive the payment on from where it stands; if it stays open, look again later."""
    payment = await find_payment(desk.db, app_id=app_id, payment_no=payment_no)
    assert payment is not None, "a due payment exists"
    payment = await advance_payment(desk, payment=payment)
    if payment.due_time is None:
        return
    tries = payment.tries + 1
    await postpone_payment(
        desk.db,
        app_id=app_id,
        payment_no=payment_no,
        due_time=next_look(tries, now=desk.clock.now()),
        tries=tries,
    )
