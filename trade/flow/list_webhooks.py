"""List webhooks, the newest first: also the dead letters."""

from __future__ import annotations

from collections.abc import Sequence

from mesh.lists import Page
from tongbao.trade.v1 import reasons_pb2 as reasons
from trade.desk import Desk
from trade.model import App, refuse
from trade.store import kept
from trade.store.lists import find_webhooks
from trade.webhook import Webhook


async def list_webhooks(
    desk: Desk, app: App, *, trade_no: str, states: Sequence[str], page: Page
) -> tuple[list[Webhook], str]:
    """Return the app's webhooks of the page, and the token of the next one, empty after the last.

    Raises Refused(TRADE_NOT_FOUND) when they are to be about a trade that the app does not have.
    """
    trace_no = ""
    if trade_no:
        trade = await kept.find_trade(desk.db, app_id=app.app_id, trade_no=trade_no)
        if trade is None:
            raise refuse(reasons.REASON_TRADE_NOT_FOUND, trade_no=trade_no)
        trace_no = trade.trace_no
    return await find_webhooks(desk.db, page, app_id=app.app_id, trace_no=trace_no, states=states)
