"""List the entries of an account 明细, with the balance after each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ledger.desk import Desk
from ledger.flow._accounts import the_account
from ledger.flow._filed import Stretch, filed_lines
from ledger.store.account_view import Named
from ledger.store.statement import Line, Places, Span, lines_of, places_of
from mesh.errors import Refused
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
    it is not seen any more, of the oldest first it comes at the end. Nor does it matter that a
    day goes into files in between: a page goes on from a place in the journal, wherever that is
    kept. Entries that only set money aside or let it go are left out unless `include_holds`; a
    page may then be short and still lead on.

    Raises Refused: BOOK_UNKNOWN, ACCOUNT_NOT_FOUND, HISTORY_MISSING.
    """
    view = await the_account(desk, named)
    while True:
        places = await places_of(
            desk.db,
            book_id=view.book_id,
            account_id=view.account_id,
            span=span,
            oldest_first=oldest_first,
            include_holds=include_holds,
            position=int(page.after or 0),
            size=page.size,
        )
        stored, filed = await lines_of(
            desk.db, book_id=view.book_id, account_id=view.account_id, seqs=places.seqs
        )
        if filed == places.filed:
            break
    stretch = Stretch(
        book_id=view.book_id,
        account_id=view.account_id,
        after=places.after,
        upto=min(places.upto, places.filed),
        oldest_first=oldest_first,
        include_holds=include_holds,
    )
    whole = _oldest_first if oldest_first else _newest_first
    lines, position = await whole(desk, stretch, places=places, stored=stored, size=page.size)
    return lines, page.token(str(position) if position else "")


async def _newest_first(
    desk: Desk, stretch: Stretch, *, places: Places, stored: Sequence[Line], size: int
) -> tuple[Sequence[Line], int]:
    """Return the page and the position of the next one: what is stored, then what is filed."""
    assert places.next is not None, "it is known of the newest first"
    if places.next > places.filed or places.next == 0 or len(stored) == size:
        return stored, places.next
    stretch = replace(stretch, upto=places.next)
    try:
        lines, position = await filed_lines(desk, stretch, most=size - len(stored))
    except Refused:
        if not stored:
            raise
        return stored, places.next  # The next page is refused, which begins in files.
    return [*stored, *lines], position


async def _oldest_first(
    desk: Desk, stretch: Stretch, *, places: Places, stored: Sequence[Line], size: int
) -> tuple[Sequence[Line], int]:
    """Return the page and the position of the next one: what is filed, then what is stored."""
    lines, position = await filed_lines(desk, stretch, most=size)
    if position:
        return lines, position
    lines = [*lines, *stored]
    return lines[:size], lines[size - 1].seq if len(lines) > size else 0
