"""Clear a refund: what it means for the merchant and for us."""

from __future__ import annotations

from settlement import store
from settlement.desk import Desk
from settlement.states import State
from settlement.wire import item_of_refund
from tongbao.payment.v1 import events_pb2


async def clear_refund(desk: Desk, event: events_pb2.RefundSucceeded) -> None:
    """Write the clearing item of the refund, once, however often the event comes.

    It may come before its payment's: no order is promised, and none is needed. One that was
    held is pending again.
    """
    item = item_of_refund(event.refund)
    await store.put_item(desk.db, item, state=State.PENDING, version=event.refund.version)
