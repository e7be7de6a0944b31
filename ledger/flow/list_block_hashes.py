"""Return how far a book is, and the hashes of some of its blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ledger.desk import Desk
from ledger.store import proof


async def list_block_hashes(
    desk: Desk, *, book_id: int, block_nos: Sequence[int]
) -> tuple[int, Mapping[int, bytes]]:
    """Return the number of the last block and the hashes of those of `block_nos` that exist.

    A book that is not there has no blocks.
    """
    return await proof.hashes(desk.db, book_id, block_nos=block_nos)
