"""Create: write the payment under trade's number, once, and carry it out."""

from __future__ import annotations

import structlog

from mesh.batch import NotExecuted, Unknown
from mesh.errors import reused
from mesh.sql import Outcome
from payment.desk import Desk
from payment.flow.advance_payment import advance_payment
from payment.model import Payment
from payment.store.payment import add_payment, seek_payment

log = structlog.get_logger()


async def create_payment(desk: Desk, *, payment: Payment, fingerprint: bytes) -> Payment:
    """Accept `payment` and return it as far as it came.

    A repetition is answered with the payment as it is now and drives nothing: the first call
    or the timer does. Raises Refused(REQUEST_REUSED) when the number stands for other content.
    """
    kept = await add_payment(desk.db, payment, fingerprint=fingerprint)
    if kept.outcome is Outcome.RACE:
        kept = await seek_payment(desk.db, payment_no=payment.payment_no, fingerprint=fingerprint)
    if kept.outcome is Outcome.REUSED:
        raise reused(field="payment_no", number=payment.payment_no)

    assert kept.payment is not None, "a number that was taken while we waited stays taken"
    if kept.outcome is Outcome.REPLAY:
        return kept.payment
    try:
        return await advance_payment(desk, payment=payment)
    except (NotExecuted, Unknown) as error:
        # The payment exists and may have been charged, so neither may reach the caller: it
        # would take it for one that never was. The timer goes on from here.
        log.warning("payment_left", payment_no=payment.payment_no, problem=str(error))
        return payment
