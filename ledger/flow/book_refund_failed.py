"""Book a refund that failed: everybody gets back what they gave for it."""

from __future__ import annotations

import structlog

from ledger.desk import Desk
from ledger.flow._orders import REVERSED, book, of_refund, tried
from tongbao.payment.v1 import payment_pb2

_NEVER_TAKEN = "REFUND_UNFUNDED"
_RETURNED = "REFUND_RETURN_CREDITED"

log = structlog.get_logger()


async def book_refund_failed(desk: Desk, refund: payment_pb2.Refund) -> None:
    """Book the mirror of the ask, once; nothing when no money had left the merchant.

    Of one that the channel had taken back 退票 the money stands in suspense, not in transit; and
    there it stays, or goes, when the merchant's account takes no credits 止收 or is closed.

    Raises Refused: FACT_MISSING, BOOK_UNKNOWN.
    """
    if refund.failure_reason == _NEVER_TAKEN:
        return
    came_back = refund.review_kind == REVERSED
    if await tried(desk, of_refund(refund, _RETURNED if came_back else "REFUND_FAILED")):
        return
    if not came_back:
        await book(desk, of_refund(refund, "REFUND_FAILED_SUSPENDED"))
    log.error("refund_left_in_suspense", refund_no=refund.refund_no)
