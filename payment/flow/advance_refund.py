"""Advance a refund: fund it, then have the channel of the payment give the money back."""

from __future__ import annotations

from mesh.errors import Declined
from payment.attempt import Attempt, AttemptState, leg_of
from payment.desk import Desk
from payment.flow._moves import move_refund
from payment.flow._neighbours import answer_of
from payment.flow.apply_refund_result import apply_refund_result
from payment.flow.fund_refund import fund_refund
from payment.model import UNFUNDED, Payment, Refund
from payment.states import Event, RefundState
from payment.store.refund import find_refund
from payment.wire import attempt_from_proto, refund_item

_NEVER_GIVEN = frozenset({"NO_CHANNEL", "ORIGINAL_NOT_FOUND"})


async def advance_refund(desk: Desk, *, refund: Refund, payment: Payment) -> Refund:
    """Bring `refund` of `payment` as far as the neighbours' answers go; return it then.

    May be repeated at any time, as `advance_payment`. Silence leaves it where it is.
    """
    if refund.state is RefundState.CREATED:
        refund = await _fund(desk, refund, payment)
    if refund.state is RefundState.PROCESSING:
        refund = await _give_back(desk, refund, payment)
    return refund


async def _fund(desk: Desk, refund: Refund, payment: Payment) -> Refund:
    """Take the money from the merchant; without it no channel hears of the refund."""
    funded = await fund_refund(desk, refund=refund, payment=payment)
    if funded is None:
        return refund
    if funded:
        after = refund.moved(Event.SUBMIT, now=desk.clock.now())
    else:
        after = refund.moved(Event.DECLINE, now=desk.clock.now(), failure_reason=UNFUNDED)
    if await move_refund(desk, before=refund, after=after):
        return after
    moved = await find_refund(desk.db, app_id=refund.app_id, refund_no=refund.refund_no)
    assert moved is not None, "refunds are never deleted"
    return moved


async def _give_back(desk: Desk, refund: Refund, payment: Payment) -> Refund:
    """Have channel give the money back, and apply what it says."""
    try:
        result = await answer_of(
            desk.channel,
            refund_item(refund, payment),
            number=refund.refund_no,
            final=_NEVER_GIVEN,
        )
    except Declined as error:
        attempt = Attempt(
            leg_no=leg_of(refund.refund_no),
            app_id=refund.app_id,
            state=AttemptState.FAILED,
            currency_code=refund.currency_code,
            amount_minor=refund.amount_minor,
            failure_reason=error.status.reason,
        )
    else:
        if result is None:
            return refund
        attempt = attempt_from_proto(result.attempt)
    return await apply_refund_result(desk, attempt=attempt, seen=refund)
