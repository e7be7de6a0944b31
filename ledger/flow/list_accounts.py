"""List accounts of all books."""

from __future__ import annotations

from collections.abc import Sequence

from ledger.desk import Desk
from ledger.store.account_view import AccountView, Wish, list_views
from mesh.lists import Page


async def list_accounts(desk: Desk, *, wish: Wish, page: Page) -> tuple[Sequence[AccountView], str]:
    """Return a page of the accounts that are wished for, the newest first, and the next token.

    The token is empty when there is nothing more; a page may be short and still lead on.
    """
    return await list_views(desk.db, wish=wish, page=page)
