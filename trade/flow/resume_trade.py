"""Look again at a try whose outcome is not known: ask payment by the same number."""

from __future__ import annotations

import structlog

from mesh.batch import NotExecuted, Unknown
from trade.desk import Desk
from trade.flow._charge import charge
from trade.model import look_again
from trade.store import kept
from trade.store import trade as store

log = structlog.get_logger()


async def resume_trade(desk: Desk, *, app_id: str, trade_no: str) -> None:
    """Ask payment for the open try of a due trade; when it stays open, look again later."""
    trade = await kept.find_trade(desk.db, app_id=app_id, trade_no=trade_no)
    assert trade is not None, f"no trade {trade_no} of {app_id}"
    if trade.due_time is None:
        return
    try:
        trade = await charge(desk, trade)
    except (NotExecuted, Unknown) as error:
        log.warning("payment_silent", trade_no=trade_no, tries=trade.tries, problem=str(error))
    if trade.due_time is not None:
        due_time = look_again(desk.clock.now(), tries=trade.tries + 1)
        await store.put_off_trade(desk.db, trade, due_time=due_time)
