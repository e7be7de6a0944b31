"""Proving a book part by part: what is computed anew, and what it is compared with."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

from ledger.desk import Desk
from ledger.model import Finding
from ledger.store import proof

_GENESIS = bytes(32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """How far the proof of a book came, and what it found since the part before."""

    book_id: int
    head_block: int
    next_block: int  # Behind the head when the book is through.
    entries: int = 0
    accounts: int = 0
    findings: list[Finding]


@dataclass(slots=True)
class _Held:
    """What the journal says of a hold that is open."""

    debit_id: int
    credit_id: int
    remaining: int


@dataclass(slots=True)
class _Replay:
    """What the entries come to, as far as they were read."""

    moved: dict[int, tuple[int, int]] = field(default_factory=dict)
    held: dict[uuid.UUID, _Held] = field(default_factory=dict)
    reversed: dict[uuid.UUID, int] = field(default_factory=dict)

    def take(self, part: proof.Slice) -> None:
        """Add what a run of blocks comes to. Runs are taken in their order."""
        for row in part.turnover:
            debit, credit = self.moved.get(row.account_id, (0, 0))
            self.moved[row.account_id] = debit + row.debit, credit + row.credit
        for row in part.holds:
            if row.amount is not None:
                self.held[row.id] = _Held(row.debit_id, row.credit_id, row.amount)
            one = self.held.get(row.id)
            if one is None:
                continue  # A hold that never was: the hashes tell of it.
            one.remaining -= row.taken
            if row.ended or one.remaining == 0:
                del self.held[row.id]
        for row in part.reversals:
            self.reversed[row.id] = self.reversed.get(row.id, 0) + row.amount


async def parts(desk: Desk, book_id: int, *, slice_blocks: int) -> AsyncIterator[Part]:
    """Yield the proof of one book as of now, in runs of `slice_blocks` blocks, then the rest.

    First what is wrong in the blocks themselves; in the last part what the book, its balances,
    holds and reversals do not agree with.
    """
    head = await proof.head(desk.db, book_id)
    replay = _Replay()
    last_hash: bytes | None = _GENESIS
    for first in range(1, head.block_no + 1, slice_blocks):
        last = min(first + slice_blocks - 1, head.block_no)
        part = await proof.slice_of(desk.db, book_id, first=first, last=last)
        replay.take(part)
        last_hash = part.last_hash
        yield Part(
            book_id=book_id,
            head_block=head.block_no,
            next_block=last + 1,
            entries=part.entries,
            findings=list(_broken(part, book_id)),
        )
    findings = []
    if last_hash != head.hash:
        place = f"block {head.block_no} of book {book_id}"
        detail = "the book remembers another hash for its head"
        findings.append(Finding(check="HASH_CHAIN", place=place, detail=detail))
    findings += _replayed(head, replay.moved)
    findings += _balanced(head, book_id)
    findings += _pending(head, replay.held)
    findings += _held(head, replay.held, book_id)
    findings += _taken_back(head, replay.reversed, book_id)
    yield Part(
        book_id=book_id,
        head_block=head.block_no,
        next_block=head.block_no + 1,
        accounts=len(head.accounts),
        findings=findings,
    )


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


def _pending(head: proof.Head, held: dict[uuid.UUID, _Held]) -> Iterator[Finding]:
    """Compare what accounts have on hold with the open holds of the journal."""
    debits: dict[int, int] = {}
    credits_: dict[int, int] = {}
    for one in held.values():
        debits[one.debit_id] = debits.get(one.debit_id, 0) + one.remaining
        credits_[one.credit_id] = credits_.get(one.credit_id, 0) + one.remaining
    for row in head.accounts:
        debit, credit = debits.get(row.account_id, 0), credits_.get(row.account_id, 0)
        if (row.debit_pending, row.credit_pending) != (debit, credit):
            yield Finding(
                check="PENDING",
                place=f"account {row.name}",
                detail=f"on hold debit {row.debit_pending} credit {row.credit_pending}"
                f" on the account, {debit} and {credit} by its entries",
            )


def _held(head: proof.Head, held: dict[uuid.UUID, _Held], book_id: int) -> Iterator[Finding]:
    """Compare the holds that are open with those that are open by the journal."""
    stored = {row.id: _Held(row.debit, row.credit, row.amount) for row in head.holds}
    for hold_id in sorted(stored.keys() | held.keys()):
        said, is_ = stored.get(hold_id), held.get(hold_id)
        if said == is_:
            continue
        if is_ is None:
            detail = "it is open; by its entries it has ended, or never was"
        elif said is None:
            detail = f"it is not open; by its entries {is_.remaining} remain"
        else:
            detail = (
                f"{said.remaining} remain from account {said.debit_id} to {said.credit_id};"
                f" by its entries {is_.remaining} from {is_.debit_id} to {is_.credit_id}"
            )
        yield Finding(check="HOLD", place=f"hold {hold_id} of book {book_id}", detail=detail)


def _taken_back(
    head: proof.Head, reversed_: dict[uuid.UUID, int], book_id: int
) -> Iterator[Finding]:
    """Compare how much of transfers was reversed with the reversals in the journal."""
    stored = {row.id: row.amount for row in head.reversals}
    for transfer_id in sorted(stored.keys() | reversed_.keys()):
        said, is_ = stored.get(transfer_id, 0), reversed_.get(transfer_id, 0)
        if said != is_:
            yield Finding(
                check="REVERSAL",
                place=f"transfer {transfer_id} of book {book_id}",
                detail=f"{said} of it is reversed, {is_} by the entries",
            )
