"""Pay many trades in one call, each on its own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from trade.desk import Desk
from trade.flow.pay_trade import Paid, pay_trade
from trade.model import Order, Try


async def batch_pay_trades(
    desk: Desk, items: Sequence[tuple[Try, str, Order | None]]
) -> list[Paid | Exception]:
    """Return what `pay_trade` returns or raises for each item, in order.

    An item is a try with the number of a trade that exists, or with a new order.
    """
    settled = await asyncio.gather(
        *(
            pay_trade(desk, tried, trade_no=trade_no, order=order)
            for tried, trade_no, order in items
        ),
        return_exceptions=True,
    )
    results: list[Paid | Exception] = []
    for one in settled:
        assert not isinstance(one, asyncio.CancelledError), "nobody cancels an item"
        assert isinstance(one, Paid | Exception), one
        results.append(one)
    return results
