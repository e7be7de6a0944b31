"""Book how a give-back ended: out of transit to the payer, or to where it stood."""

from __future__ import annotations

from ledger.desk import Desk
from ledger.flow._orders import LATE, REVERSED, book, of_give_back
from tongbao.payment.v1 import payment_pb2

_State, _Source = payment_pb2.GiveBack.State, payment_pb2.GiveBack.Source
_FAILED = {
    _Source.SOURCE_SUSPENSE: "SUSPENSE_RETURN_FAILED",
    _Source.SOURCE_DUPLICATE: "DUPLICATE_RETURN_FAILED",
}
# Under review: it came back to us, or was paid after it had failed. Of another amount than
# was asked nothing is booked: what is in transit stays there until a person knows more.
_REVIEWED = {REVERSED: "REFUND_RETURNED", LATE: "REFUND_SUSPENDED"}


async def book_give_back(desk: Desk, give_back: payment_pb2.GiveBack) -> None:
    """Book the end of the give-back, once. Its money was put into transit before.

    Raises Refused: FACT_MISSING, BOOK_UNKNOWN.
    """
    if give_back.state == _State.STATE_SUCCEEDED:
        await book(desk, of_give_back(give_back, "REFUND_SUCCEEDED"))
    elif give_back.state == _State.STATE_FAILED:
        await book(desk, of_give_back(give_back, _FAILED[give_back.source]))
    elif template := _REVIEWED.get(give_back.failure_reason):
        await book(desk, of_give_back(give_back, template))
