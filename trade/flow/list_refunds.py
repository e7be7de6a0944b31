"""List refunds, the newest first."""

from __future__ import annotations

from mesh.context import acting
from mesh.lists import Page
from trade.desk import Desk
from trade.model import Refund
from trade.store.lists import RefundFilter, find_refunds


async def list_refunds(desk: Desk, wanted: RefundFilter, page: Page) -> tuple[list[Refund], str]:
    """Return the app's refunds of the page, and the token of the next one, empty after the last."""
    return await find_refunds(desk.db, desk.clock, wanted, page, app_id=acting().app_id)
