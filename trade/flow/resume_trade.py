"""Look again at a trade that is due: ask for its open try, or close what nobody pays in time."""

from __future__ import annotations

import structlog

from mesh.batch import NotExecuted, Unknown
from trade.desk import Desk
from trade.flow._charge import charge
from trade.flow._close import end_try, wish_closed
from trade.model import Trade
from trade.store import kept
from trade.store import trade as store

log = structlog.get_logger()


async def resume_trade(desk: Desk, *, app_id: str, trade_no: str) -> None:
    """Do for a due trade what time asks for; while it is not over, look again later.

    One that has expired, or that somebody wants closed, is closed as CloseTrade closes it: an
    open try is ended at the provider first. Of any other one payment is asked for the open try
    by the same number.
    """
    trade = await kept.find_trade(desk.db, app_id=app_id, trade_no=trade_no)
    assert trade is not None, f"no trade {trade_no} of {app_id}"
    if trade.due_time is None:
        return
    try:
        trade = await _look(desk, trade)
    except (NotExecuted, Unknown) as error:
        log.warning("payment_silent", trade_no=trade_no, tries=trade.tries, problem=str(error))
    if trade.due_time is not None:
        due_time = trade.next_look(now=desk.clock.now())
        await store.put_off_trade(desk.db, trade, due_time=due_time)


async def _look(desk: Desk, trade: Trade) -> Trade:
    """Return the trade after the look. Raises NotExecuted, Unknown: then nothing was decided."""
    if not trade.is_over(now=desk.clock.now()):
        return await charge(desk, trade) if trade.is_open else trade
    trade = await wish_closed(desk, trade)
    if not trade.is_closable:
        return trade
    trade, is_paying = await end_try(desk, trade)
    if is_paying:
        log.info("payer_is_paying", trade_no=trade.trade_no, tries=trade.tries)
    return trade
