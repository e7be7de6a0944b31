"""Close the open try of a trade that nobody wants paid any more: have payment end it."""

from __future__ import annotations

from mesh.context import note, within
from mesh.errors import Declined
from tongbao.common.v1 import item_pb2
from tongbao.payment.v1 import payment_service_pb2 as payment
from trade.desk import Desk
from trade.flow._charge import ASK_SECONDS
from trade.flow._move import move_until_current
from trade.flow.apply_payment import apply_payment
from trade.model import Trade
from trade.wire import try_to_proto

_PAYING = "PAYER_IS_PAYING"


async def wish_closed(desk: Desk, trade: Trade) -> Trade:
    """Close the trade if no try is open, else write down that it is to be; return it then."""
    return await move_until_current(
        desk,
        app_id=trade.app_id,
        trade_no=trade.trade_no,
        after=lambda seen: seen.after_wish(now=desk.clock.now()),
        seen=trade,
    )


async def end_try(desk: Desk, trade: Trade) -> tuple[Trade, bool]:
    """Have payment end the trade's open try; return the trade after its answer.

    Also whether the try stands because the payer is paying at this moment. A try that payment
    never heard of is ended too: sent later, it charges nobody. Raises NotExecuted, Unknown:
    then the wish stays in the row, and the timer asks again.
    """
    note(trace_no=trade.trace_no)
    order = try_to_proto(trade)
    order.context.CopyFrom(item_pb2.ItemContext(app_id=trade.app_id, trace_no=trade.trace_no))
    item = payment.ClosePaymentItem(payment=order)
    try:
        with within(ASK_SECONDS):
            told = (await desk.closes.ask(item)).payment
    except Declined as declined:
        reason = declined.status.reason
        assert reason == _PAYING, f"payment will not close {trade.payment_no}: {reason}"
        return trade, True
    return await apply_payment(desk, told, seen=trade), False
