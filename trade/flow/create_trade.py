"""Create: accept an order under its caller's number, once. Nobody is charged yet."""

from __future__ import annotations

from mesh.context import acting, note
from mesh.errors import Refused, reused
from mesh.sql import Outcome
from trade.desk import Desk
from trade.flow._accept import new_trade
from trade.flow._check import check_order
from trade.model import App, Order, Trade
from trade.store import kept
from trade.store import trade as store


async def create_trade(desk: Desk, order: Order) -> tuple[Trade, bool]:
    """Accept `order`; return its trade as it is now, and whether it was there before.

    Raises Refused, in this order: REQUEST_REUSED, those of `check_order`.
    """
    app = await desk.directory.app(acting().app_id)
    assert app is not None, "its token was verified"
    try:
        product, _ = await check_order(desk, app, order)
    except Refused:
        if (known := await _known(desk, app, order)) is None:
            raise
        return known, True
    trade = new_trade(desk, app, order, product=product)
    note(trace_no=trade.trace_no)
    if await store.add_trade(desk.db, trade, order=order):
        return trade, False
    found = await _known(desk, app, order)
    assert found is not None, "keys are never deleted"
    return found, True


async def _known(desk: Desk, app: App, order: Order) -> Trade | None:
    """Return the trade that the order number stands for. Raises Refused(REQUEST_REUSED)."""
    known = await kept.find_kept(desk.db, app, order=order)
    if known.ordered is Outcome.REUSED:
        raise reused(field="order_no", number=order.order_no)
    return known.trade
