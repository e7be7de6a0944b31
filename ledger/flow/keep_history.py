"""Keep history: the next closed day that is old enough goes to files."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import date, timedelta

from ledger.desk import Desk
from ledger.history.files import COLUMNS
from ledger.history.write import Draft, NotWritten, Written, drafting
from ledger.store import history as store

_PIECE_TRANSFERS = 20_000  # Some megabytes, and some tenths of a second.


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A day that is in files now: how many rows, and how many bytes they take there."""

    book_id: int
    acct_date: date
    transfers: int
    vouchers: int
    bytes: int


async def keep_history(desk: Desk) -> Kept | None:
    """Write the next day that is old enough to files, and note it; return it, None if none is.

    Old enough is a day that is closed, has blocks and is over for `keep_entry_days`. Each book
    has its own next day; the oldest of them is written. Its files are whole on the disk, and
    were read back, before anything is noted: a crash leaves the day as it was, and the files
    are written again. None too while another process writes one.

    Raises NotWritten when a day cannot be written, or when what is read back is not what the
    database gave, once no other book has a day to write; OSError, StartError.
    """
    until = desk.clock.local().date() - timedelta(days=desk.keep_entry_days)
    folder = desk.history.folder
    problem: NotWritten | None = None
    for day in await store.due(desk.db, until=until):
        with drafting(folder, book_id=day.book_id, acct_date=day.acct_date) as draft:
            if draft is None:
                return None
            if day not in await store.due(desk.db, until=until):
                continue  # Written by whoever wrote before us.
            try:
                files = await _write(desk, day, draft)
            except NotWritten as error:
                problem = problem or error
                continue
            return await _noted(desk, day, files)
    if problem is not None:
        raise problem
    return None


async def _write(desk: Desk, day: store.Due, draft: Draft) -> dict[str, Written]:
    """Return the files of a day: written, read back, in their place."""
    for table in COLUMNS:
        first = day.first_block
        while first <= day.last_block:
            piece = await store.piece_of(
                desk.db,
                table=table,
                book_id=day.book_id,
                first=first,
                last=day.last_block,
                most=_PIECE_TRANSFERS,
            )
            if table == "transfer" and piece.rows != piece.sealed:
                raise NotWritten(
                    f"blocks up to {piece.last_block} of book {day.book_id} say {piece.sealed} "
                    f"transfers, {piece.rows} are there. Prove the book: `tongbao ledger verify`"
                )
            await asyncio.to_thread(
                draft.add, table, lines=piece.lines, rows=piece.rows, check=piece.check
            )
            first = piece.last_block + 1
    return {table: await asyncio.to_thread(draft.finish, table) for table in COLUMNS}


async def _noted(desk: Desk, day: store.Due, files: dict[str, Written]) -> Kept:
    """Note that a day is in files. If the answer is lost, the next call finds out by itself."""
    transfer, voucher = files["transfer"], files["voucher"]
    await store.keep_day(
        desk.db,
        day=day,
        transfers=transfer.rows,
        vouchers=voucher.rows,
        transfer_bytes=transfer.bytes,
        voucher_bytes=voucher.bytes,
        transfer_sha256=transfer.sha256,
        voucher_sha256=voucher.sha256,
    )
    return Kept(
        book_id=day.book_id,
        acct_date=day.acct_date,
        transfers=transfer.rows,
        vouchers=voucher.rows,
        bytes=transfer.bytes + voucher.bytes,
    )
