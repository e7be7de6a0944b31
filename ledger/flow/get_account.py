"""Get one account with what persons did to it."""

from __future__ import annotations

from collections.abc import Sequence

from ledger.desk import Desk
from ledger.flow._accounts import the_account
from ledger.store.account_change import Past, list_changes
from ledger.store.account_view import AccountView, Named

_CHANGES_MAX = 50


async def get_account(desk: Desk, named: Named) -> tuple[AccountView, Sequence[Past]]:
    """Return the account as of now, and its newest changes, the newest first.

    Raises Refused: BOOK_UNKNOWN, ACCOUNT_NOT_FOUND.
    """
    view = await the_account(desk, named)
    return view, await list_changes(desk.db, account_id=view.account_id, limit=_CHANGES_MAX)
