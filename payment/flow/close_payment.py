"""Close: end a payment that nobody has paid, so that nobody can pay it any more."""

from __future__ import annotations

from dataclasses import replace

from mesh.errors import Declined, reused
from mesh.sql import Outcome
from payment.desk import Desk
from payment.flow._moves import move_payment
from payment.flow._neighbours import NEVER_CHARGED, answer_of
from payment.flow.apply_result import apply_result
from payment.model import Payment, never_charged, refuse
from payment.states import PaymentState
from payment.store.payment import add_payment, find_payment, seek_payment
from payment.wire import attempt_from_proto, close_item
from tongbao.payment.v1 import reasons_pb2 as reasons

_PAYING = "PAYER_IS_PAYING"


async def close_payment(desk: Desk, *, payment: Payment, fingerprint: bytes) -> Payment:
    """End the payment of this number and return it as it is then, however it ended.

    One that we never heard of is written down as CLOSED; one that is CREATED is withdrawn and
    no channel will hear of it; of one that is PROCESSING channel ends the leg. It is returned
    PROCESSING when nobody knows: then channel goes on, and its event comes later.

    Raises Refused: REQUEST_REUSED, PAYER_IS_PAYING.
    """
    found = await _kept(desk, payment, fingerprint)
    while found.state is PaymentState.CREATED:
        after = found.unheard(now=desk.clock.now())
        if await move_payment(desk, before=found, after=after):
            return after
        found = await _current(desk, found)
    return await _end(desk, found) if found.state is PaymentState.PROCESSING else found


async def _kept(desk: Desk, payment: Payment, fingerprint: bytes) -> Payment:
    """Return what stands under the number, from now on at least this payment, CLOSED."""
    kept = await seek_payment(desk.db, payment_no=payment.payment_no, fingerprint=fingerprint)
    if kept.outcome is Outcome.RACE:
        unheard = replace(payment.unheard(now=payment.create_time), version=1)
        kept = await add_payment(desk.db, unheard, fingerprint=fingerprint)
    if kept.outcome is Outcome.RACE:
        kept = await seek_payment(desk.db, payment_no=payment.payment_no, fingerprint=fingerprint)
    if kept.outcome is Outcome.REUSED:
        raise reused(field="payment_no", number=payment.payment_no)
    assert kept.payment is not None, "a number that was taken while we waited stays taken"
    return kept.payment


async def _end(desk: Desk, payment: Payment) -> Payment:
    """Have channel end the leg, and apply what it says."""
    try:
        result = await answer_of(
            desk.closes,
            close_item(payment),
            number=payment.payment_no,
            final=NEVER_CHARGED | {_PAYING},
        )
    except Declined as error:
        if error.status.reason == _PAYING:
            raise refuse(reasons.REASON_PAYER_IS_PAYING, payment_no=payment.payment_no) from error
        attempt = never_charged(payment, reason=error.status.reason)
    else:
        if result is None:
            return payment
        attempt = attempt_from_proto(result.attempt)
    return await apply_result(desk, attempt=attempt, seen=payment)


async def _current(desk: Desk, payment: Payment) -> Payment:
    found = await find_payment(desk.db, app_id=payment.app_id, payment_no=payment.payment_no)
    assert found is not None, "payments are never deleted"
    return found
