"""Cancel: what was taken back for good does not count."""

from __future__ import annotations

from settlement import store
from settlement.desk import Desk
from settlement.states import State
from settlement.wire import item_of_payment, item_of_refund
from tongbao.common.v1 import kinds_pb2
from tongbao.payment.v1 import events_pb2, payment_pb2

_REVERSED = "CHANNEL_REVERSED"


async def cancel_item(
    desk: Desk, event: events_pb2.PaymentFailed | events_pb2.RefundFailed
) -> None:
    """Cancel the item of a payment or refund that failed only after a person had looked at it.

    What failed without that was never cleared, and gets no item.
    """
    ended: payment_pb2.Payment | payment_pb2.Refund
    if isinstance(event, events_pb2.RefundFailed):
        ended = event.refund
        item = item_of_refund(event.refund)
    else:
        ended = event.payment
        if event.payment.trade_type != kinds_pb2.TRADE_TYPE_COLLECT:
            return
        item = item_of_payment(event.payment)
    if ended.review_kind == _REVERSED:
        await store.put_item(desk.db, item, state=State.CANCELLED, version=ended.version)
