"""Book a refund under review: what the channel says happened, against suspense."""

from __future__ import annotations

from ledger.desk import Desk
from ledger.flow._orders import REVERSED, book, of_refund
from tongbao.payment.v1 import payment_pb2


async def book_refund_review(desk: Desk, refund: payment_pb2.Refund) -> None:
    """Book what came back to the channel 退票 into suspense; what it paid unasked, out of it.

    Clearing then says what the channel says, until a person has decided.

    Raises Refused: FACT_MISSING, BOOK_UNKNOWN.
    """
    if refund.review_kind == REVERSED:
        await book(desk, of_refund(refund, "REFUND_RETURNED"))
    else:
        await book(desk, of_refund(refund, "REFUND_SUSPENDED", moved=True))
