"""Advance: ask risk, then channel, from wherever the payment stands."""

from __future__ import annotations

from mesh.errors import Declined
from payment.attempt import AttemptState
from payment.desk import Desk
from payment.flow._moves import move_payment, say_again
from payment.flow._neighbours import NEVER_CHARGED, answer_of
from payment.flow.apply_result import apply_result
from payment.model import Payment, never_charged
from payment.states import Event, PaymentState
from payment.store.payment import find_payment
from payment.wire import attempt_from_proto, evaluate_item, pay_item
from tongbao.risk.v1 import risk_service_pb2


async def advance_payment(desk: Desk, *, payment: Payment) -> Payment:
    """Bring `payment` as far as the neighbours' answers go; return it as it is then.

    May be repeated at any time, also beside itself: neighbours know the payment by its
    number, and of two who move it one does. Silence leaves it where it is.
    """
    if payment.state is PaymentState.CREATED:
        payment = await _assess(desk, payment)
    if payment.state is PaymentState.PROCESSING:
        payment = await _charge(desk, payment)
    return payment


async def _assess(desk: Desk, payment: Payment) -> Payment:
    """Ask risk; the payment is PROCESSING in the database before channel hears of it."""
    result = await answer_of(desk.risk, evaluate_item(payment), number=payment.payment_no)
    if result is None:
        return payment
    if result.decision == risk_service_pb2.DECISION_BLOCK:
        after = payment.moved(Event.DECLINE, now=desk.clock.now(), failure_reason=result.cause)
    else:
        assert result.decision == risk_service_pb2.DECISION_PASS, result.decision
        after = payment.moved(Event.SUBMIT, now=desk.clock.now())
    if await move_payment(desk, before=payment, after=after):
        return after
    moved = await find_payment(desk.db, app_id=payment.app_id, payment_no=payment.payment_no)
    assert moved is not None, "payments are never deleted"
    if moved.state is PaymentState.CLOSED:
        # Withdrawn while risk was asked: what it has reserved since is to be given back.
        await say_again(desk, moved)
    return moved


async def _charge(desk: Desk, payment: Payment) -> Payment:
    """Have channel charge the payer, and apply what it says."""
    try:
        result = await answer_of(
            desk.channel, pay_item(payment), number=payment.payment_no, final=NEVER_CHARGED
        )
    except Declined as error:
        attempt = never_charged(payment, reason=error.status.reason)
    else:
        if result is None:
            return payment
        attempt = attempt_from_proto(result.attempt)
        if attempt.state is not AttemptState.PROCESSING:  # Its event says the same again.
            with desk.db.heard.applying(attempt.attempt_no, result.attempt.version):
                return await apply_result(desk, attempt=attempt, seen=payment)
    return await apply_result(desk, attempt=attempt, seen=payment)
