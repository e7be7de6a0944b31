"""Prove the books: compute everything anew from the journal, and say what does not agree."""

from __future__ import annotations

from dataclasses import dataclass, field

from ledger.desk import Desk
from ledger.flow._proof import begun, parts
from ledger.model import Finding
from ledger.store import proof

_SLICE_ENTRIES = 10_000
_FINDINGS_MAX = 1_000  # An answer holds so many, whatever was done to a book.


@dataclass(slots=True)
class Proof:
    """What was computed, and what does not hold; nothing when the books are proved."""

    blocks: int = 0
    entries: int = 0
    accounts: int = 0
    findings: list[Finding] = field(default_factory=list)


async def prove_book(desk: Desk) -> Proof:
    """Return the proof of all books, as of the moment each was looked at; 1,000 findings at most.

    The hash of every block, and that none is missing at the end; every voucher whole, every
    entry in one; every balance the sum of its entries; debits equal credits in each currency;
    open holds, what accounts have on hold, and what was reversed, as the entries say.
    """
    proved = Proof()
    for book_id in await proof.books(desk.db):
        head_block = 0
        async for part in parts(await begun(desk, book_id, slice_entries=_SLICE_ENTRIES)):
            head_block = part.head_block
            proved.entries += part.entries
            proved.accounts += part.accounts
            proved.findings += part.findings[: _FINDINGS_MAX - len(proved.findings)]
        proved.blocks += head_block
    return proved
