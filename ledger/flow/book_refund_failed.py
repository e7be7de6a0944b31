"""Book a refund that failed: everybody gets back what they gave for it."""

from __future__ import annotations

from ledger.desk import Desk
from ledger.flow._orders import REVERSED, of_refund, settled
from tongbao.payment.v1 import payment_pb2

_NEVER_TAKEN = "REFUND_UNFUNDED"
_RETURNED = "REFUND_RETURN_CREDITED"


async def book_refund_failed(desk: Desk, refund: payment_pb2.Refund) -> None:
    """Book the mirror of the ask, once; nothing when no money had left the merchant.

    Of one that the channel had taken back 退票 the money stands in suspense, not in transit. There
    it stays, or goes, when the merchant's account takes no credits 止收, is full or is closed, and
    PostingRefused calls a person.

    Raises Refused: FACT_MISSING, BOOK_UNKNOWN.
    """
    if refund.failure_reason == _NEVER_TAKEN:
        return
    came_back = refund.review_kind == REVERSED
    await settled(desk, of_refund(refund, _RETURNED if came_back else "REFUND_FAILED"))
