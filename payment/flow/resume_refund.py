"""Resume a refund: what a timer does for a refund that is not decided."""

from __future__ import annotations

from payment.desk import Desk
from payment.flow.advance_refund import advance_refund
from payment.model import next_look
from payment.store.payment import find_payment
from payment.store.refund import find_refund, postpone_refund


async def resume_refund(desk: Desk, *, app_id: str, refund_no: str) -> None:
    """Drive the refund on from where it stands; if it stays open, look again later."""
    refund = await find_refund(desk.db, app_id=app_id, refund_no=refund_no)
    assert refund is not None, "a due refund exists"
    payment = await find_payment(desk.db, app_id=app_id, payment_no=refund.payment_no)
    assert payment is not None, "a refund is of a payment"
    refund = await advance_refund(desk, refund=refund, payment=payment)
    if refund.due_time is None:
        return
    tries = refund.tries + 1
    await postpone_refund(
        desk.db,
        app_id=app_id,
        refund_no=refund_no,
        due_time=next_look(tries, now=desk.clock.now()),
        tries=tries,
    )
