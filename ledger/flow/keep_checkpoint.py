"""Write down outside of the database how far every book is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from ledger.checkpoints import Head, append, compare, last_of
from ledger.desk import Desk
from ledger.store import proof


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A checkpoint that was written; or why none can be, until a person has looked."""

    book_id: int
    block_no: int
    problem: str = ""


async def keep_checkpoint(desk: Desk) -> Sequence[Kept]:
    """Append a checkpoint of every book whose head has moved; return these.

    A book that is not where its last checkpoint was is a problem and gets no further one: its
    tail was cut, or it was written anew. Nothing is written twice, however many do this at once.
    Raises OSError and StartError when the file cannot be written.
    """
    notary = desk.notary
    assert notary is not None, "the desk of a running service has one"
    kept: list[Kept] = []
    for book_id in await proof.books(desk.db):
        try:
            last = await asyncio.to_thread(last_of, notary, book_id)
        except ValueError as error:
            kept.append(Kept(book_id=book_id, block_no=0, problem=str(error)))
            continue
        # Read behind the checkpoint: a head that is not as far was set back.
        head = await _head(desk, book_id)
        if last is not None and (problem := await _problem(desk, last)):
            kept.append(Kept(book_id=book_id, block_no=head.block_no, problem=problem))
        elif head.block_no > (last.block_no if last else 0):
            before = await asyncio.to_thread(append, notary, head)
            if before is None or before.block_no < head.block_no:
                kept.append(Kept(book_id=book_id, block_no=head.block_no))
    return kept


async def _head(desk: Desk, book_id: int) -> Head:
    row = await proof.last_block(desk.db, book_id)
    return Head(
        book_id=book_id,
        block_no=row.head_block,
        hash=row.head_hash.hex(),
        acct_date=row.acct_date.isoformat(),
        time=desk.clock.now().isoformat(),
    )


async def _problem(desk: Desk, last: Head) -> str:
    """Return why a book is not the one of its last checkpoint; empty when it is."""
    end, found = await proof.hashes(desk.db, last.book_id, block_nos=[last.block_no])
    told = {number: hash_.hex() for number, hash_ in found.items()}
    findings = compare(last.book_id, [last], lambda _: (end, told), page=1)
    return "; ".join(f"{one.check}, {one.place}: {one.detail}" for one in findings)
