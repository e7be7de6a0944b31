"""Prove the books part by part, for whoever wants to see how far it is, or takes several calls."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace

import structlog

from ledger import proofs
from ledger.desk import Desk
from ledger.flow._days import date_of_book
from ledger.flow._proof import Part, Walk, begun, parts
from ledger.model import refuse
from ledger.store import proof
from mesh.clock import monotonic
from mesh.embedded.places import StartError
from tongbao.ledger.v1 import reasons_pb2 as reasons

_SLICE_ENTRIES = 10_000
_KEEP_SECONDS = 30.0  # As much is done twice when a call breaks off.
_FORMAT = 1  # Of what is written down; what another version wrote is not taken up.

log = structlog.get_logger()


async def prove_blocks(desk: Desk, book_id: int, *, continuation: str = "") -> AsyncIterator[Part]:
    """Yield the proof of a book, or of all of them for 0, in parts of about 10,000 entries.

    What all parts together find is what ProveBook finds. With the `continuation` of a part it
    goes on behind it, in the books that were begun with. Raises Refused, in this order:
    PROOF_GONE, BOOK_NOT_FOUND.
    """
    if desk.proofs is not None:
        await asyncio.to_thread(proofs.sweep, desk.proofs)
    walk, kept, kept_at = None, [], monotonic()
    if continuation:
        books, walk = await _taken_up(desk, continuation)
        kept = [continuation]
    elif book_id:
        await date_of_book(desk, book_id)
        books = [book_id]
    else:
        books = await proof.books(desk.db)
    for place, one in enumerate(books):
        walk = walk or await begun(desk, one, slice_entries=_SLICE_ENTRIES)
        async for part in parts(walk):
            if monotonic() - kept_at < _KEEP_SECONDS:
                yield part
                continue
            name = await _keep(desk, walk, books[place:], kept)
            kept_at = monotonic()
            yield replace(part, continuation=name)
        walk = None


async def _keep(desk: Desk, walk: Walk, books: Sequence[int], kept: list[str]) -> str:
    """Write down what is known between two parts; return its name, empty when it could not be.

    The one before stays until one is kept behind this one, or this one is gone on with: its caller
    may not have heard of it. So the last ones stay for a day: who hangs up does not hear the end.
    """
    if desk.proofs is None:
        return ""
    try:
        name = await asyncio.to_thread(proofs.keep, desk.proofs, _frames(walk, books, kept[-1:]))
    except (OSError, StartError) as error:
        log.warning("proof_not_kept", problem=str(error))
        return ""
    kept.append(name)
    await _drop(desk, kept[:-2])
    del kept[:-2]
    return name


def _frames(walk: Walk, books: Sequence[int], before: Sequence[str]) -> Iterator[proofs.Frame]:
    # The first is of this proof alone, so that no other one has the same file.
    told = [_FORMAT, list(books), list(before), uuid.uuid4().hex]
    yield "proof", json.dumps(told).encode()
    yield from walk.frames()


async def _taken_up(desk: Desk, name: str) -> tuple[list[int], Walk]:
    """Return which books are left, and the walk through the first. Raises Refused(PROOF_GONE)."""
    try:
        if desk.proofs is None:
            raise proofs.ProofGone(name)
        books, before, walk = await asyncio.to_thread(_read, desk, proofs.read(desk.proofs, name))
    except proofs.ProofGone:
        raise refuse(reasons.REASON_PROOF_GONE) from None
    await _drop(desk, before)
    return books, walk


def _read(desk: Desk, frames: Iterator[proofs.Frame]) -> tuple[list[int], list[str], Walk]:
    """Return what was written down. Raises ProofGone, also for what we would not have written."""
    try:
        _, told = next(frames)
        version, books, before, _ = json.loads(told)
        if version != _FORMAT:
            raise proofs.ProofGone
        return books, before, Walk.of(desk, frames, slice_entries=_SLICE_ENTRIES)
    except (StopIteration, ValueError, TypeError, KeyError, IndexError) as error:
        raise proofs.ProofGone(repr(error)) from None


async def _drop(desk: Desk, names: Sequence[str]) -> None:
    if desk.proofs is not None:
        for name in names:
            await asyncio.to_thread(proofs.drop, desk.proofs, name)
