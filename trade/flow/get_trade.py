"""Get a trade by its number or its caller's."""

from __future__ import annotations

from mesh.context import acting
from tongbao.trade.v1 import reasons_pb2 as reasons
from trade.desk import Desk
from trade.model import Trade, refuse
from trade.store import kept


async def get_trade(desk: Desk, *, trade_no: str = "", order_no: str = "") -> Trade:
    """Return the app's trade as it is now. Raises Refused(TRADE_NOT_FOUND)."""
    app_id = acting().app_id
    if trade_no:
        trade = await kept.find_trade(desk.db, app_id=app_id, trade_no=trade_no)
    else:
        app = await desk.directory.app(app_id)
        assert app is not None, "its token was verified"
        trade = await kept.find_order(desk.db, app, order_no=order_no)
    if trade is None:
        facts = {"trade_no": trade_no} if trade_no else {"order_no": order_no}
        raise refuse(reasons.REASON_TRADE_NOT_FOUND, **facts)
    return trade
