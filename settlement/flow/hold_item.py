"""Hold: what the channel takes back is not paid to anybody until somebody has decided."""

from __future__ import annotations

from settlement import store
from settlement.desk import Desk
from settlement.states import State
from settlement.wire import item_of_payment, item_of_refund
from tongbao.common.v1 import kinds_pb2
from tongbao.payment.v1 import events_pb2, payment_pb2

# Only a success that is taken back had an item; other money under review was never cleared.
_REVERSED = "CHANNEL_REVERSED"


async def hold_item(
    desk: Desk, event: events_pb2.PaymentReviewed | events_pb2.RefundReviewed
) -> None:
    """Hold the item of a payment or refund that its channel takes back.

    It may come before the word that cleared it: then the item is written as it is now.
    """
    reviewed: payment_pb2.Payment | payment_pb2.Refund
    if isinstance(event, events_pb2.RefundReviewed):
        reviewed = event.refund
        item = item_of_refund(event.refund)
    else:
        reviewed = event.payment
        if event.payment.trade_type != kinds_pb2.TRADE_TYPE_COLLECT:
            return
        item = item_of_payment(event.payment)
    if reviewed.review_kind == _REVERSED:
        await store.put_item(desk.db, item, state=State.HELD, version=reviewed.version)
