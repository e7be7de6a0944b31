"""Prove the books: compute everything anew from the journal, and say what does not agree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ledger.desk import Desk
from ledger.model import Finding
from ledger.store import proof

_SLICE_BLOCKS = 256
_GENESIS = bytes(32)


@dataclass(slots=True)
class Proof:
    """What was computed, and what does not hold; nothing when the books are proved."""

    blocks: int = 0
    entries: int = 0
    accounts: int = 0
    findings: list[Finding] = field(default_factory=list)


async def prove_book(desk: Desk) -> Proof:
    """Return the proof of all books, as of the moment each was looked at.

    The hash of every block, and that none is missing at the end; every voucher whole, every
    entry in one; every balance the sum of its entries; debits equal credits in each currency.
    """
    proved = Proof()
    for book_id in await proof.books(desk.db):
        await _prove(desk, book_id, proved)
    return proved


async def _prove(desk: Desk, book_id: int, proved: Proof) -> None:
    """Add the proof of one book to `proved`."""
    head = await proof.head(desk.db, book_id)
    moved: dict[int, tuple[int, int]] = {}
    last_hash: bytes | None = _GENESIS
    for first in range(1, head.block_no + 1, _SLICE_BLOCKS):
        last = min(first + _SLICE_BLOCKS - 1, head.block_no)
        part = await proof.slice_of(desk.db, book_id, first=first, last=last)
        proved.entries += part.entries
        proved.findings += _broken(part, book_id)
        for row in part.turnover:
            debit, credit = moved.get(row.account_id, (0, 0))
            moved[row.account_id] = debit + row.debit, credit + row.credit
        last_hash = part.last_hash
    if last_hash != head.hash:
        place = f"block {head.block_no} of book {book_id}"
        detail = "the book remembers another hash for its head"
        proved.findings.append(Finding(check="HASH_CHAIN", place=place, detail=detail))
    proved.findings += _replayed(head, moved)
    proved.findings += _balanced(head, book_id)
    proved.blocks += head.block_no
    proved.accounts += len(head.accounts)


def _broken(part: proof.Slice, book_id: int) -> Iterator[Finding]:
    for row in part.broken_blocks:
        detail = f"{row.found} entries do not give the hash that seals {row.sealed}"
        if row.hash is None:
            detail = f"the block is missing; it has {row.found} entries"
        place = f"block {row.block_no} of book {book_id}"
        yield Finding(check="HASH_CHAIN", place=place, detail=detail)
    for row in part.broken_vouchers:
        place = f"voucher {row.txn} of book {book_id}"
        detail = f"it says {row.sealed} entries, there are {row.found}"
        yield Finding(check="VOUCHER", place=place, detail=detail)


def _replayed(head: proof.Head, moved: dict[int, tuple[int, int]]) -> Iterator[Finding]:
    """Compare balances with the journal. Both are of the same head."""
    for row in head.accounts:
        debit, credit = moved.pop(row.account_id, (0, 0))
        if (row.debit, row.credit) != (debit, credit):
            yield Finding(
                check="REPLAY",
                place=f"account {row.name}",
                detail=f"debit {row.debit} credit {row.credit} on the account,"
                f" {debit} and {credit} by its entries",
            )
    for account_id, (debit, credit) in moved.items():
        yield Finding(
            check="REPLAY",
            place=f"account {account_id}",
            detail=f"there is no balance, its entries come to debit {debit} credit {credit}",
        )


def _balanced(head: proof.Head, book_id: int) -> Iterator[Finding]:
    totals: dict[str, list[int]] = {}
    for row in head.accounts:
        total = totals.setdefault(row.currency_code, [0, 0])
        total[0] += row.debit
        total[1] += row.credit
    for currency_code, (debit, credit) in sorted(totals.items()):
        if debit != credit:
            place = f"{currency_code} in book {book_id}"
            detail = f"debits {debit}, credits {credit}"
            yield Finding(check="DOUBLE_ENTRY", place=place, detail=detail)
