"""Clear a payment: what its success means for the merchant and for us."""

from __future__ import annotations

from settlement import store
from settlement.desk import Desk
from settlement.states import State
from settlement.wire import item_of_payment
from tongbao.common.v1 import kinds_pb2
from tongbao.payment.v1 import events_pb2


async def clear_payment(desk: Desk, event: events_pb2.PaymentSucceeded) -> None:
    """Write the clearing item of the payment, once, however often the event comes.

    Only what a merchant is owed is cleared: a recharge belongs to the wallet's owner. One that
    was held is pending again.
    """
    payment = event.payment
    if payment.trade_type == kinds_pb2.TRADE_TYPE_COLLECT:
        item = item_of_payment(payment)
        await store.put_item(desk.db, item, state=State.PENDING, version=payment.version)
