"""List money in doubt 挂账 by what parked it, with its age and what took it out 核销."""

from __future__ import annotations

from collections.abc import Sequence

from ledger.desk import Desk
from ledger.flow._days import date_of_book
from ledger.flow.read_suspense import read_suspense
from ledger.store.suspense import Item, ItemsWanted, ItemTotal, page_of_items
from mesh.lists import Page


async def list_suspense(
    desk: Desk, *, book_id: int, wanted: ItemsWanted, page: Page
) -> tuple[Sequence[Item], Sequence[ItemTotal], str]:
    """Return a page of items, the oldest first, what each account's items come to, and where the
    next page begins. The token is empty when there is nothing more.

    Raises Refused(BOOK_NOT_FOUND).
    """
    await date_of_book(desk, book_id)
    await read_suspense(desk, book_id)
    items, totals = await page_of_items(
        desk.db,
        book_id=book_id,
        wanted=wanted,
        after=_place(page.after) if page.after else (0, 0),
        size=page.size + 1,
    )
    more = len(items) > page.size
    items = items[: page.size]
    return items, totals, page.token(f"{items[-1].seq}_{items[-1].account_id}") if more else ""


def _place(position: str) -> tuple[int, int]:
    seq, account_id = position.split("_")
    return int(seq), int(account_id)
