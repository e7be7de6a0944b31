"""Book a refund that did not reach the payer: everybody gets back what they gave for it."""

from __future__ import annotations

from ledger.desk import Desk
from ledger.flow.post import post
from ledger.model import Outcome, Posting
from tongbao.payment.v1 import payment_pb2

_NEVER_TAKEN = "REFUND_UNFUNDED"


async def book_refund_failed(desk: Desk, refund: payment_pb2.Refund) -> None:
    """Book the mirror of the ask, once; nothing when no money had left the merchant.

    Raises Refused: FACT_MISSING, BOOK_UNKNOWN.
    """
    if refund.failure_reason == _NEVER_TAKEN:
        return
    posting = Posting(
        template="REFUND_FAILED",
        source_no=refund.refund_no,
        trace_no=refund.trace_no,
        business_code=refund.business_code,
        currency_code=refund.amount.currency_code,
        amount_minor=refund.amount.minor_units,
        fee_minor=refund.fee_minor,
        merchant_id=refund.merchant_id,
    )
    [result] = await post(desk, [posting])
    assert result.outcome is not Outcome.REFUSED, f"{refund.refund_no}: {result.refusal}"
