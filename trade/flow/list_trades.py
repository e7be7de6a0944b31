"""List trades, the newest first."""

from __future__ import annotations

from mesh.context import acting
from mesh.lists import Page
from trade.desk import Desk
from trade.model import Trade
from trade.store.lists import TradeFilter, find_trades


async def list_trades(desk: Desk, wanted: TradeFilter, page: Page) -> tuple[list[Trade], str]:
    """Return the app's trades of the page, and the token of the next one, empty after the last."""
    return await find_trades(desk.db, desk.clock, wanted, page, app_id=acting().app_id)
