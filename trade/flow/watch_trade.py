"""Watch: every newer version of a trade, until nothing more is to be expected."""

from __future__ import annotations

from collections.abc import AsyncIterator

from trade.desk import Desk
from trade.flow.get_trade import get_trade
from trade.model import Trade
from trade.states import SETTLED


async def watch_trade(
    desk: Desk, *, trade_no: str = "", order_no: str = "", after_version: int = 0
) -> AsyncIterator[Trade]:
    """Yield the app's trade as it is now and as often as it changes, until it is settled.

    Only versions above `after_version`, each newer than the one before; of changes that follow
    each other closely perhaps only the last. Raises Refused(TRADE_NOT_FOUND).
    """
    trade = await get_trade(desk, trade_no=trade_no, order_no=order_no)
    with desk.watchers.watching(trade) as watcher:
        version = after_version
        while True:
            if trade.version > version:
                version = trade.version
                yield trade
            if trade.state in SETTLED:
                return
            trade = await watcher.newer(max(version, trade.version))
