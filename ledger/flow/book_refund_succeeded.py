"""Book a refund that reached the payer: the channel paid it out of what it owes us."""

from __future__ import annotations

from ledger.desk import Desk
from ledger.flow._orders import REVERSED, book, of_refund
from tongbao.payment.v1 import payment_pb2


async def book_refund_succeeded(desk: Desk, refund: payment_pb2.Refund) -> None:
    """Book the refund out of transit, once.

    One that a person accepted although the channel had taken it back 退票 has its money in
    suspense, from where it returns to the channel.

    Raises Refused: FACT_MISSING, BOOK_UNKNOWN.
    """
    undone = refund.review_kind == REVERSED
    await book(desk, of_refund(refund, "REFUND_RETURN_UNDONE" if undone else "REFUND_SUCCEEDED"))
