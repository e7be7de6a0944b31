"""List what is or was on hold 冻结 on an account."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from uuid import UUID

from ledger.desk import Desk
from ledger.flow._accounts import the_account
from ledger.flow._filed import filed_origins
from ledger.store.account_view import Named
from ledger.store.holds_view import HoldState, HoldView, page_of_holds
from mesh.lists import Page


async def list_holds(
    desk: Desk, named: Named, *, states: Sequence[HoldState], page: Page
) -> tuple[Sequence[HoldView], str]:
    """Return a page of the account's holds on either side, in these states (empty: in all), the
    newest first, and the token of the next page, empty at the end.

    Raises Refused: BOOK_UNKNOWN, ACCOUNT_NOT_FOUND, HISTORY_MISSING.
    """
    view = await the_account(desk, named)
    holds, edge = await page_of_holds(
        desk.db,
        book_id=view.book_id,
        account_id=view.account_id,
        states=states,
        before=UUID(hex=page.after) if page.after else None,
        size=page.size,
        filed=partial(filed_origins, desk, book_id=view.book_id, account_id=view.account_id),
    )
    return holds, page.token(edge.hex if edge else "")
