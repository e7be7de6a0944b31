"""Fund a refund: the merchant's money goes into transit before a channel is asked."""

from __future__ import annotations

from payment.desk import Desk
from payment.flow._neighbours import answer_of
from payment.model import Payment, Refund
from payment.wire import collected, refund_posting
from tongbao.ledger.v1 import ledger_pb2, ledger_service_pb2


async def fund_refund(desk: Desk, *, refund: Refund, payment: Payment) -> bool | None:
    """Return whether the refund is funded; None when nobody knows.

    The payment's own posting goes first, because a refund may be quicker than the event that
    credits the merchant; it is booked once, whoever sends it. Both answers are remembered by
    the ledger: asking again says the same.

    Where the money comes from is decided here alone: from what the merchant has pending.
    """
    postings = [*collected(payment), refund_posting(refund, "REFUND_ASKED")]
    item = ledger_service_pb2.PostItem(postings=postings)
    item.context.app_id, item.context.trace_no = refund.app_id, refund.trace_no
    result = await answer_of(desk.ledger, item, number=refund.refund_no)
    if result is None:
        return None
    asked = result.postings[-1]
    if asked.outcome == ledger_pb2.PostingResult.OUTCOME_REFUSED:
        return False
    assert asked.outcome in (
        ledger_pb2.PostingResult.OUTCOME_POSTED,
        ledger_pb2.PostingResult.OUTCOME_EXISTS,
    ), asked.outcome
    return True
