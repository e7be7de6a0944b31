"""List the vouchers of closed days with where they are on their way to the general ledger."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from ledger.desk import Desk
from ledger.flow._days import date_of_book
from ledger.store.push import Push, PushState, VoucherKey, page_of_pushes
from mesh.lists import Page


async def list_pushes(
    desk: Desk, *, book_id: int, states: Sequence[PushState], page: Page
) -> tuple[Sequence[Push], str]:
    """Return a page of vouchers in these states (none: all), the newest day first, and where
    the next one begins. The token is empty when there is nothing more.

    Raises Refused(BOOK_NOT_FOUND).
    """
    await date_of_book(desk, book_id)
    found = await page_of_pushes(
        desk.db,
        book_id=book_id,
        states=states,
        after=_key(book_id, page.after) if page.after else None,
        size=page.size + 1,
    )
    more = len(found) > page.size
    found = found[: page.size]
    return found, page.token(_position(found[-1].key)) if more else ""


def _position(key: VoucherKey) -> str:
    return f"{key.acct_date:%Y%m%d}_{key.template_code}_{key.currency_code}"


def _key(book_id: int, position: str) -> VoucherKey:
    day, code, currency_code = position.split("_")
    return VoucherKey(
        book_id=book_id,
        acct_date=date.fromisoformat(day),
        template_code=int(code),
        currency_code=currency_code,
    )
