"""Proving a book part by part: what is computed anew, and what it is compared with.

First its blocks, in runs, up to the head. Then what the book says beside them, page by page: a
page is of a moment, and so we go on with the blocks up to its head before we compare. Posting goes
on all the while; the blocks between two pages are few.

Behind every part the walk knows all that the rest of the proof needs: written down, and taken up
again in another process, it goes on as if nothing had been.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass

from ledger.desk import Desk
from ledger.flow._proof_files import Files
from ledger.flow._replay import Replay
from ledger.model import Finding
from ledger.proofs import Frame
from ledger.store import proof

_PAGE_ROWS = 5_000
_FILED_SLICES = 4  # To find vouchers in the file of a day, all of it is looked through.
_GENESIS = bytes(32)
_FIRST_ID = "00000000-0000-0000-0000-000000000000"
_LAST_ID = "ffffffff-ffff-ffff-ffff-ffffffffffff"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """How far the proof of a book came, and what it found since the part before."""

    book_id: int
    head_block: int
    next_block: int  # Behind the head when the book is through.
    entries: int = 0
    accounts: int = 0
    findings: list[Finding]
    continuation: str = ""  # What a proof goes on from behind this part, when it was kept.


async def begun(desk: Desk, book_id: int, *, slice_entries: int) -> Walk:
    """Return the walk through a book, at its beginning."""
    replay = Replay(book_id=book_id, highest_id=await proof.highest_account(desk.db))
    return Walk(desk, replay, slice_entries=slice_entries)


async def parts(walk: Walk) -> AsyncIterator[Part]:
    """Yield the proof of one book, or what is left of it, in runs of blocks that hold about
    `slice_entries` entries, a block at least, and pages of what they are compared with; in the end
    it is as of the last part.

    When entries are in files that cannot be read, nothing is compared with them: it would accuse
    balances of what the files lack.
    """
    while walk.step < len(_STEPS):
        async for part in _STEPS[walk.step](walk):
            yield part
        walk.step, walk.after = walk.step + 1, _FIRST_ID


class Walk:
    """Reads the blocks of a book, one run behind the other.

    `step` is where in `_STEPS` it is, and `after` the last id that was compared in it; `_LAST_ID`
    when the step is through. It is so before the part of it is yielded, so every part is a step on.
    """

    def __init__(self, desk: Desk, replay: Replay, *, slice_entries: int) -> None:
        self.desk, self.book_id, self.replay = desk, replay.book_id, replay
        self._slice_entries = slice_entries
        self.files = Files(desk, self.book_id)
        self.last_hash: bytes | None = _GENESIS
        self.step, self.after = 0, _FIRST_ID
        self._at = 0  # The last block that was read.
        self._is_filed = False  # As that was.
        self._head = 0

    def frames(self) -> Iterator[Frame]:
        """Yield all that the rest of the proof needs, to be written down between two parts."""
        last_hash = None if self.last_hash is None else self.last_hash.hex()
        told = [self._at, self._is_filed, self._head, last_hash]
        yield "walk", json.dumps([*told, self.files.lost, self.step, self.after]).encode()
        yield from self.replay.frames()

    @classmethod
    def of(cls, desk: Desk, frames: Iterator[Frame], *, slice_entries: int) -> Walk:
        """Return the walk that was written down, to go on with it."""
        _, told = next(frames)
        walk = cls(desk, Replay.of(frames), slice_entries=slice_entries)
        walk._at, walk._is_filed, walk._head, last_hash, *rest = json.loads(told)
        walk.last_hash = None if last_hash is None else bytes.fromhex(last_hash)
        walk.files.lost, walk.step, walk.after = rest
        return walk

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
            findings += [*self._parted(part), *_broken(part, self.book_id)]
            await self._take(part, run)
            yield self.part(findings, entries=part.entries)

    def _parted(self, part: proof.Slice) -> Iterator[Finding]:
        """Find whether the block that we read last has become another one since."""
        if self._at and part.before_hash != self.last_hash:
            place = f"block {self._at} of book {self.book_id}"
            detail = "its hash is not the one that it had when it was proved, a moment ago"
            yield Finding(check="HASH_CHAIN", place=place, detail=detail)

    async def _take(self, part: proof.Slice, run: proof.Run) -> None:
        late = self.replay.late(part)
        currencies = await proof.currencies(self.desk.db, sorted(late)) if late else {}
        self.replay.take(part, currencies)
        self.last_hash, self._at = part.last_hash, run.last

    async def _skip(self, run: proof.Run) -> None:
        _, found = await proof.hashes(self.desk.db, self.book_id, block_nos=[run.last])
        self.last_hash, self._at = found.get(run.last), run.last

    def goes_on(self) -> bool:
        """Return whether there may be more to compare in this step."""
        return not self.files.lost and self.after != _LAST_ID

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


async def _blocks(walk: Walk) -> AsyncIterator[Part]:
    """Read what is booked already, which is most of it."""
    head = await proof.head(walk.desk.db, walk.book_id)
    async for part in walk.to(head.block_no):
        yield part


async def _accounts(walk: Walk) -> AsyncIterator[Part]:
    """Compare every balance, and what it has on hold, with the entries."""
    replay = walk.replay
    while walk.goes_on():
        page = await proof.accounts(
            walk.desk.db, walk.book_id, after=replay.compared_upto, size=_PAGE_ROWS
        )
        async for part in walk.to(page.head_block):
            yield part
        findings = list(replay.accounts(page.rows))
        replay.compared_upto, walk.after = page.upto, _FIRST_ID if page.more else _LAST_ID
        yield walk.part(findings, accounts=len(page.rows))


async def _totals(walk: Walk) -> AsyncIterator[Part]:
    """Find what moved and has no balance; compare debits with credits, over all accounts."""
    if walk.goes_on():
        findings = [*walk.replay.missing_accounts(), *walk.replay.balanced()]
        walk.after = _LAST_ID
        yield walk.part(findings)


async def _stored_holds(walk: Walk) -> AsyncIterator[Part]:
    """Compare the holds that are open with those that are open by the entries."""
    while walk.goes_on():
        page = await proof.holds(walk.desk.db, walk.book_id, after=walk.after, size=_PAGE_ROWS)
        async for part in walk.to(page.head_block):
            yield part
        walk.after = str(page.upto) if page.more else _LAST_ID
        yield walk.part(walk.replay.stored_holds(page.rows))


async def _open_holds(walk: Walk) -> AsyncIterator[Part]:
    """And the reverse."""
    for ids in _batches(walk, walk.replay.held):
        page = await proof.holds_of(walk.desk.db, walk.book_id, ids)
        async for part in walk.to(page.head_block):
            yield part
        walk.after = ids[-1]
        yield walk.part(walk.replay.open_holds(ids, page.rows))


async def _stored_reversals(walk: Walk) -> AsyncIterator[Part]:
    """Compare how much of transfers is stored as reversed with the entries."""
    while walk.goes_on():
        page = await proof.reversals(walk.desk.db, walk.book_id, after=walk.after, size=_PAGE_ROWS)
        async for part in walk.to(page.head_block):
            yield part
        walk.after = str(page.upto) if page.more else _LAST_ID
        yield walk.part(walk.replay.stored_reversals(page.rows))


async def _known_reversals(walk: Walk) -> AsyncIterator[Part]:
    """And the reverse."""
    for ids in _batches(walk, walk.replay.reversed):
        page = await proof.reversals_of(walk.desk.db, walk.book_id, ids)
        async for part in walk.to(page.head_block):
            yield part
        walk.after = ids[-1]
        yield walk.part(walk.replay.known_reversals(ids, page.rows))


async def _end(walk: Walk) -> AsyncIterator[Part]:
    """Read what was booked meanwhile, and compare the last block with what the book says of it."""
    if walk.after == _LAST_ID:
        return
    head = await proof.head(walk.desk.db, walk.book_id)
    async for part in walk.to(head.block_no):
        yield part
    findings = []
    if walk.last_hash != head.hash:
        place = f"block {head.block_no} of book {walk.book_id}"
        detail = "the book remembers another hash for its head"
        findings.append(Finding(check="HASH_CHAIN", place=place, detail=detail))
    walk.after = _LAST_ID
    yield walk.part(findings)


_STEPS = (
    _blocks,
    _accounts,
    _totals,
    _stored_holds,
    _open_holds,
    _stored_reversals,
    _known_reversals,
    _end,
)


def _batches(walk: Walk, ids: Iterable[str]) -> list[list[str]]:
    """Return the ids of now that are not compared yet in pages, in order; none when files are lost.

    What comes later is right, or is found later.
    """
    known = sorted(one for one in ids if one > walk.after) if walk.goes_on() else []
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
