"""Prove the books part by part, for whoever wants to see how far it is."""

from __future__ import annotations

from collections.abc import AsyncIterator

from ledger.desk import Desk
from ledger.flow._days import date_of_book
from ledger.flow._proof import Part, parts
from ledger.store import proof

_SLICE_ENTRIES = 10_000


async def prove_blocks(desk: Desk, book_id: int) -> AsyncIterator[Part]:
    """Yield the proof of a book, or of all of them for 0, in parts of about 10,000 entries.

    What all parts together find is what ProveBook finds. Raises Refused(BOOK_NOT_FOUND).
    """
    if book_id:
        await date_of_book(desk, book_id)
    for one in [book_id] if book_id else await proof.books(desk.db):
        async for part in parts(desk, one, slice_entries=_SLICE_ENTRIES):
            yield part
