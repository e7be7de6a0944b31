"""Read suspense 挂账: what was parked and taken out since the last time."""

from __future__ import annotations

from ledger.desk import Desk
from ledger.store import suspense

_STEP_ENTRIES = 1_000  # A tenth of a second.


async def read_suspense(desk: Desk, book_id: int) -> None:
    """Read what was booked on a book's accounts of money in doubt since they were read, in steps.

    Done all the time, before anybody looks at the items, and before a day closes: its entries
    go into files some day. Several may do this at once: each entry is read once.
    """
    for account_id in await suspense.unread(desk.db, book_id):
        while await suspense.read_on(
            desk.db, book_id=book_id, account_id=account_id, most=_STEP_ENTRIES
        ):
            pass
