"""List the days of a book that are in files."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from ledger.desk import Desk
from ledger.flow._days import date_of_book
from ledger.store import history as store
from mesh.lists import Page


async def list_history_days(
    desk: Desk, *, book_id: int, page: Page
) -> tuple[Sequence[store.HistoryDay], str]:
    """Return a page of the days that are in files, the newest first, and where the next begins.

    The token is empty when there is nothing more. Raises Refused(BOOK_NOT_FOUND).
    """
    await date_of_book(desk, book_id)
    before = date.fromisoformat(page.after) if page.after else None
    days = await store.page_of_days(desk.db, book_id=book_id, before=before, size=page.size + 1)
    more = len(days) > page.size
    days = days[: page.size]
    return days, page.token(f"{days[-1].acct_date:%Y%m%d}") if more else ""
