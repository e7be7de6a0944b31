"""Create a refund: take it out of what is left of the payment, once, and carry it out."""

from __future__ import annotations

from typing import NoReturn

import structlog

from mesh.batch import NotExecuted, Unknown
from mesh.errors import reused
from mesh.sql import Outcome
from payment.desk import Desk
from payment.flow.advance_refund import advance_refund
from payment.model import Payment, Refund, RefundOrder, next_look, refuse
from payment.store.refund import add_refund, seek_refund
from tongbao.payment.v1 import reasons_pb2 as reasons

log = structlog.get_logger()


async def create_refund(desk: Desk, *, order: RefundOrder, fingerprint: bytes) -> Refund:
    """Accept the refund `order` and return it as far as it came.

    The amount leaves what is refundable before the ledger or any channel hears of it, so
    two refunds that race for the same payment cannot both pass. A repetition is answered
    with the refund as it is now and drives nothing.

    Raises, in this order: Refused(REQUEST_REUSED), Refused(PAYMENT_NOT_FOUND), Malformed for
    another currency, Refused(PAYMENT_NOT_REFUNDABLE), Refused(REFUND_EXCEEDS_PAYMENT).
    """
    now = desk.clock.now()
    tried = await add_refund(
        desk.db, order, fingerprint=fingerprint, now=now, due_time=next_look(0, now=now)
    )
    kept = tried
    if tried.outcome is Outcome.RACE:
        # Also when it did not fit: a twin of this very refund may have taken the money.
        kept = await seek_refund(desk.db, refund_no=order.refund_no, fingerprint=fingerprint)
    if kept.outcome is Outcome.REUSED:
        raise reused(field="refund_no", number=order.refund_no)
    if kept.outcome is Outcome.RACE:
        _explain(tried.payment, order)

    assert kept.refund is not None, "a number that is taken stands for a refund"
    if kept.outcome is Outcome.REPLAY:
        return kept.refund
    assert kept.payment is not None, "a refund is written with its payment held"
    try:
        return await advance_refund(desk, refund=kept.refund, payment=kept.payment)
    except (NotExecuted, Unknown) as error:
        # The refund exists: the caller may not take it for one that never was.
        log.warning("refund_left", refund_no=order.refund_no, problem=str(error))
        return kept.refund


def _explain(payment: Payment | None, order: RefundOrder) -> NoReturn:
    """Raise why the statement left `payment` alone, from the facts it brought back."""
    if payment is None:
        raise refuse(reasons.REASON_PAYMENT_NOT_FOUND, payment_no=order.payment_no)
    payment.check_refundable(order.amount_minor, order.currency_code)
    raise AssertionError(f"{order.refund_no} fits {payment.payment_no} but was not written")
