"""Book a refund that reached the payer: the channel paid it out of what it owes us."""

from __future__ import annotations

from ledger.desk import Desk
from ledger.flow.post import post
from ledger.model import Outcome, Posting
from tongbao.payment.v1 import payment_pb2


async def book_refund_succeeded(desk: Desk, refund: payment_pb2.Refund) -> None:
    """Book the refund out of transit, once.

    Raises Refused: FACT_MISSING, BOOK_UNKNOWN.
    """
    posting = Posting(
        template="REFUND_SUCCEEDED",
        source_no=refund.refund_no,
        trace_no=refund.trace_no,
        business_code=refund.business_code,
        currency_code=refund.amount.currency_code,
        amount_minor=refund.amount.minor_units,
        channel_code=refund.channel_code,
    )
    [result] = await post(desk, [posting])
    assert result.outcome is not Outcome.REFUSED, f"{refund.refund_no}: {result.refusal}"
