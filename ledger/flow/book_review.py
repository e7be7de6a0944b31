"""Book money that came in with a payment whose facts conflict."""

from __future__ import annotations

from ledger.desk import Desk
from ledger.flow.post import post
from ledger.model import Outcome, Posting
from tongbao.payment.v1 import payment_pb2

# A success that its channel takes back was booked as a success: that stands until a person
# has decided, and money that stands twice would help nobody.
_BOOKED_BEFORE = "CHANNEL_REVERSED"


async def book_review(desk: Desk, payment: payment_pb2.Payment) -> None:
    """Book to suspense what the channel says was charged, once, until a person decides.

    Nothing when the payment had succeeded before: its money is in the books.

    Raises Refused: FACT_MISSING, BOOK_UNKNOWN.
    """
    if payment.failure_reason == _BOOKED_BEFORE:
        return
    posting = Posting(
        template="MISMATCH_SUSPENDED",
        source_no=payment.payment_no,
        trace_no=payment.trace_no,
        business_code=payment.business_code,
        currency_code=payment.amount.currency_code,
        amount_minor=payment.reported_minor or payment.amount.minor_units,
        channel_code=payment.channel_code,
    )
    [result] = await post(desk, [posting])
    assert result.outcome is not Outcome.REFUSED, f"{payment.payment_no}: {result.refusal}"
