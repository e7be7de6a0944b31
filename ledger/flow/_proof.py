"""Proving a book part by part: what is computed anew, and what it is compared with.

First its blocks, in runs, up to the head. Then what the book says beside them, page by page: a
page is of a moment, and so we go on with the blocks up to its head before we compare. Posting goes
on all the while; the blocks between two pages are few.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass

from ledger.desk import Desk
from ledger.flow._proof_files import Files
from ledger.flow._replay import Replay
from ledger.model import Finding
from ledger.store import proof

_PAGE_ROWS = 5_000
_FILED_SLICES = 4  # To find vouchers in the file of a day, all of it is looked through.
_GENESIS = bytes(32)
_FIRST_ID = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """How far the proof of a book came, and what it found since the part before."""

    book_id: int
    head_block: int
    next_block: int  # Behind the head when the book is through.
    entries: int = 0
    accounts: int = 0
    findings: list[Finding]


async def parts(desk: Desk, book_id: int, *, slice_entries: int) -> AsyncIterator[Part]:
    """Yield the proof of one book, in runs of blocks that hold about `slice_entries` entries, a
    block at least, and pages of what they are compared with; in the end it is as of the last part.

    When entries are in files that cannot be read, nothing is compared with them: it would accuse
    balances of what the files lack.
    """
    replay = Replay(book_id=book_id, highest_id=await proof.highest_account(desk.db))
    walk = _Walk(desk, book_id, replay, slice_entries)
    head = await proof.head(desk.db, book_id)
    async for part in walk.to(head.block_no):
        yield part
    if not walk.files.lost:
        async for part in _accounts(walk):
            yield part
        async for part in _holds(walk):
            yield part
        async for part in _reversals(walk):
            yield part
        head = await proof.head(desk.db, book_id)
        async for part in walk.to(head.block_no):
            yield part
    findings = []
    if walk.last_hash != head.hash:
        place = f"block {head.block_no} of book {book_id}"
        detail = "the book remembers another hash for its head"
        findings.append(Finding(check="HASH_CHAIN", place=place, detail=detail))
    yield walk.part(findings)


class _Walk:
    """Reads the blocks of a book, one run behind the other."""

    def __init__(self, desk: Desk, book_id: int, replay: Replay, slice_entries: int) -> None:
        self.desk, self.book_id, self.replay = desk, book_id, replay
        self._slice_entries = slice_entries
        self.files = Files(desk, book_id)
        self.last_hash: bytes | None = _GENESIS
        self._at = 0  # The last block that was read.
        self._is_filed = False  # As that was.
        self._head = 0

    async def to(self, head_block: int) -> AsyncIterator[Part]:
        """Read up to a head, and yield what is wrong in the blocks themselves."""
        self._head = max(self._head, head_block)
        while self._at < self._head:
            run = await proof.run_from(
                self.desk.db,
                self.book_id,
                first=self._at + 1,
                upto=self._head,
                entries=self._slice_entries * (_FILED_SLICES if self._is_filed else 1),
            )
            self._is_filed = run.is_filed
            findings: list[Finding] = []
            filed = None
            if run.is_filed:
                filed, findings = await self.files.read(run)
                if filed is None:
                    await self._skip(run)
                    yield self.part(findings)
                    continue
            part = await proof.slice_of(
                self.desk.db, self.book_id, first=run.first, last=run.last, filed=filed
            )
            if part is None:
                continue  # It went into files just now.
            await self._take(part, run)
            yield self.part([*findings, *_broken(part, self.book_id)], entries=part.entries)

    async def _take(self, part: proof.Slice, run: proof.Run) -> None:
        late = self.replay.late(part)
        currencies = await proof.currencies(self.desk.db, sorted(late)) if late else {}
        self.replay.take(part, currencies)
        self.last_hash, self._at = part.last_hash, run.last

    async def _skip(self, run: proof.Run) -> None:
        _, found = await proof.hashes(self.desk.db, self.book_id, block_nos=[run.last])
        self.last_hash, self._at = found.get(run.last), run.last

    def part(
        self, findings: Iterable[Finding] = (), *, entries: int = 0, accounts: int = 0
    ) -> Part:
        """Return how far we are."""
        return Part(
            book_id=self.book_id,
            head_block=self._head,
            next_block=self._at + 1,
            entries=entries,
            accounts=accounts,
            findings=list(findings),
        )


async def _accounts(walk: _Walk) -> AsyncIterator[Part]:
    """Compare every balance, and what it has on hold, with the entries; debits with credits."""
    replay, more = walk.replay, True
    while more:
        page = await proof.accounts(
            walk.desk.db, walk.book_id, after=replay.compared_upto, size=_PAGE_ROWS
        )
        async for part in walk.to(page.head_block):
            yield part
        findings = list(replay.accounts(page.rows))
        replay.compared_upto, more = page.upto, page.more
        yield walk.part(findings, accounts=len(page.rows))
    yield walk.part([*replay.missing_accounts(), *replay.balanced()])


async def _holds(walk: _Walk) -> AsyncIterator[Part]:
    """Compare the holds that are open with those that are open by the entries, and the reverse."""
    replay, after, more = walk.replay, _FIRST_ID, True
    while more:
        page = await proof.holds(walk.desk.db, walk.book_id, after=after, size=_PAGE_ROWS)
        async for part in walk.to(page.head_block):
            yield part
        after, more = page.upto, page.more
        yield walk.part(replay.stored_holds(page.rows))
    for ids in _batches(replay.held):
        page = await proof.holds_of(walk.desk.db, walk.book_id, ids)
        async for part in walk.to(page.head_block):
            yield part
        yield walk.part(replay.open_holds(ids, page.rows))


async def _reversals(walk: _Walk) -> AsyncIterator[Part]:
    """Compare how much of transfers was reversed with the entries, and the reverse."""
    replay, after, more = walk.replay, _FIRST_ID, True
    while more:
        page = await proof.reversals(walk.desk.db, walk.book_id, after=after, size=_PAGE_ROWS)
        async for part in walk.to(page.head_block):
            yield part
        after, more = page.upto, page.more
        yield walk.part(replay.stored_reversals(page.rows))
    for ids in _batches(replay.reversed):
        page = await proof.reversals_of(walk.desk.db, walk.book_id, ids)
        async for part in walk.to(page.head_block):
            yield part
        yield walk.part(replay.known_reversals(ids, page.rows))


def _batches(ids: Iterable[str]) -> list[list[str]]:
    """Return the ids of now in pages, in order: what comes later is right or is found later."""
    known = sorted(ids)
    return [known[place : place + _PAGE_ROWS] for place in range(0, len(known), _PAGE_ROWS)]


def _broken(part: proof.Slice, book_id: int) -> Iterator[Finding]:
    for block_no, is_there, sealed, found in part.broken_blocks:
        detail = f"{found} entries do not give the hash that seals {sealed}"
        if not is_there:
            detail = f"the block is missing; it has {found} entries"
        place = f"block {block_no} of book {book_id}"
        yield Finding(check="HASH_CHAIN", place=place, detail=detail)
    for txn, sealed, found in part.broken_vouchers:
        place = f"voucher {txn} of book {book_id}"
        detail = f"it says {sealed} entries, there are {found}"
        yield Finding(check="VOUCHER", place=place, detail=detail)
