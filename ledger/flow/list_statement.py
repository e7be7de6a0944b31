"""List the entries of an account 明细, with the balance after each."""

from __future__ import annotations

from collections.abc import Sequence

from ledger.desk import Desk
from ledger.flow._accounts import the_account
from ledger.store.account_view import Named
from ledger.store.statement import Line, Span, page_of_lines
from mesh.lists import Page


async def list_statement(
    desk: Desk,
    named: Named,
    *,
    span: Span,
    page: Page,
    oldest_first: bool = False,
    include_holds: bool = False,
) -> tuple[Sequence[Line], str]:
    """Return a page of the account's entries and the token of the next one, empty at the end.

    What is booked between two pages neither repeats an entry nor skips one: of the newest first
    it is not seen any more, of the oldest first it comes at the end. Entries that only set
    money aside or let it go are left out unless `include_holds`; a page may then be short and
    still lead on.

    Raises Refused: BOOK_UNKNOWN, ACCOUNT_NOT_FOUND.
    """
    view = await the_account(desk, named)
    lines, position = await page_of_lines(
        desk.db,
        book_id=view.book_id,
        account_id=view.account_id,
        span=span,
        oldest_first=oldest_first,
        include_holds=include_holds,
        position=int(page.after or 0),
        size=page.size,
    )
    return lines, page.token(str(position) if position else "")
