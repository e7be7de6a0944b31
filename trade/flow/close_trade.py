"""Close: end a trade that is not paid, after its open try was ended at the provider."""

from __future__ import annotations

from mesh.errors import refuse as unknown
from tongbao.common.v1 import reasons_pb2 as common
from tongbao.trade.v1 import reasons_pb2 as reasons
from trade.desk import Desk
from trade.flow._charge import before_deadline
from trade.flow._close import end_try, wish_closed
from trade.flow._move import move_until_current
from trade.flow.get_trade import get_trade
from trade.model import Trade, refuse
from trade.states import TradeState


async def close_trade(desk: Desk, *, trade_no: str = "", order_no: str = "") -> tuple[Trade, bool]:
    """Close the app's trade; return it CLOSED, and whether it was closed before.

    The wish is written before anybody is asked, so the platform goes on closing when the
    answer does not come in time, whatever crashes. Only a payer who is paying takes it back.

    Raises Refused, in this order: TRADE_NOT_FOUND, TRADE_NOT_CLOSABLE, PAYER_IS_PAYING,
    OUTCOME_UNKNOWN.
    """
    trade = await get_trade(desk, trade_no=trade_no, order_no=order_no)
    if trade.state is TradeState.CLOSED:
        return trade, True
    trade, is_paying = await wish_closed(desk, trade), False
    if trade.is_closable:
        trade, is_paying = await before_deadline(
            desk, end_try(desk, trade), otherwise=(trade, False)
        )
    if is_paying:
        trade = await _take_back(desk, trade)
    if trade.state is TradeState.CLOSED:
        return trade, False
    trade.check_closable()
    if is_paying:
        raise refuse(
            reasons.REASON_PAYER_IS_PAYING, trade_no=trade.trade_no, payment_no=trade.payment_no
        )
    raise unknown(common.REASON_OUTCOME_UNKNOWN, trade_no=trade.trade_no, state=trade.state.name)


async def _take_back(desk: Desk, trade: Trade) -> Trade:
    """Take the wish back, because its caller is told that it was refused."""
    return await move_until_current(
        desk,
        app_id=trade.app_id,
        trade_no=trade.trade_no,
        after=lambda seen: seen.after_unwish(now=desk.clock.now()),
        seen=trade,
    )
