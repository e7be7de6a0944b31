"""Create a book: one more order of blocks, with a chain of hashes of its own."""

from __future__ import annotations

from ledger.desk import Desk
from ledger.store import book as store
from mesh.batch import NotExecuted

_TRIES = 5


async def create_book(desk: Desk, name: str) -> int:
    """Return the id of the book of that name, which is made unless it is there.

    Raises NotExecuted when others were quicker again and again.
    """
    for _ in range(_TRIES):
        if (book_id := await store.create_book(desk.db, name)) is not None:
            return book_id
    raise NotExecuted(f"others made books at the same moment, {_TRIES} times")
