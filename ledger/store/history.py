"""Closed days that go to files: which is next, its rows in pieces, and that it is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from uuid import UUID

from ledger.history.files import COLUMNS
from mesh.db import Database, Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A closed day with blocks that follow those in files."""

    book_id: int
    acct_date: date
    first_block: int
    last_block: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryDay:
    """A day that is in files. Digests are hex; `write_time` is business time."""

    book_id: int
    acct_date: date
    first_block: int
    last_block: int
    transfers: int
    vouchers: int
    transfer_bytes: int
    voucher_bytes: int
    transfer_sha256: str
    voucher_sha256: str
    write_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Rows of one table in a run of blocks: one line of JSON each, in order of `seq`.

    `check` is the sum of 60 bits of the MD5 of each row (see `ledger/history/write.py`);
    `sealed` is how many transfers the blocks say they have.
    """

    last_block: int
    rows: int
    check: int
    sealed: int
    lines: str


async def due(db: Database, *, until: date) -> Sequence[Due]:
    """Return the next day of every book that has one, no later than `until`."""
    rows = await db.rows(_DUE, until=until)
    return [
        Due(
            book_id=row.book_id,
            acct_date=row.acct_date,
            first_block=row.first_block,
            last_block=row.last_block,
        )
        for row in rows
    ]


async def piece_of(
    db: Database, *, table: str, book_id: int, first: int, last: int, most: int
) -> Piece:
    """Return the rows of `transfer` or `voucher` in blocks from `first`, up to `last` at most.

    As many blocks as have `most` transfers; one at least.
    """
    [row] = await db.rows(_piece(table), book_id=book_id, first=first, last=last, most=most)
    return Piece(
        last_block=row.last_block,
        rows=row.rows,
        check=int(row.digest),
        sealed=row.sealed,
        lines=row.lines or "",
    )


async def keep_day(
    db: Database,
    *,
    day: Due,
    transfers: int,
    vouchers: int,
    transfer_bytes: int,
    voucher_bytes: int,
    transfer_sha256: str,
    voucher_sha256: str,
) -> bool:
    """Note that a day is in files; return False when somebody noted it before.

    Raises Rejected when it is not closed, or not the next one.
    """
    [row] = await db.rows(
        _KEEP,
        book_id=day.book_id,
        acct_date=day.acct_date,
        transfers=transfers,
        vouchers=vouchers,
        transfer_bytes=transfer_bytes,
        voucher_bytes=voucher_bytes,
        transfer_sha256=bytes.fromhex(transfer_sha256),
        voucher_sha256=bytes.fromhex(voucher_sha256),
    )
    return bool(row.done)


async def page_of_days(
    db: Database, *, book_id: int, before: date | None, size: int
) -> Sequence[HistoryDay]:
    """Return up to `size` days of a book that are in files, before a date, the newest first."""
    rows = await db.rows(_PAGE, book_id=book_id, before=before, size=size)
    return [_day(row) for row in rows]


async def id_floor(db: Database, *, book_id: int) -> UUID:
    """Return the id from which on the database has all there is; before, files may have more."""
    [row] = await db.rows("SELECT id_floor FROM book WHERE book_id = %(id)s", id=book_id)
    floor: UUID = row.id_floor
    return floor


async def oldest_week(db: Database) -> date | None:
    """Return the Monday (UTC) of the oldest partitions of the journal; None when there are none."""
    [row] = await db.rows("SELECT oldest_week() AS monday")
    return row.monday if row.monday is not None else None


async def problem_of_week(db: Database, monday: date) -> str:
    """Return why the partitions of a week cannot go yet; empty when they can."""
    [row] = await db.rows("SELECT week_problem(%(monday)s) AS problem", monday=monday)
    return row.problem or ""


async def drop_week(db: Database, monday: date) -> str:
    """Drop the partitions of the oldest week; return why not, empty when they are gone.

    Raises NotExecuted when somebody read the journal all the while, Rejected when ids of that
    week may still come.
    """
    [row] = await db.rows("SELECT drop_week(%(monday)s) AS problem", monday=monday)
    return row.problem or ""


def _day(row: Row) -> HistoryDay:
    return HistoryDay(
        book_id=row.book_id,
        acct_date=row.acct_date,
        first_block=row.first_block,
        last_block=row.last_block,
        transfers=row.transfers,
        vouchers=row.vouchers,
        transfer_bytes=row.transfer_bytes,
        voucher_bytes=row.voucher_bytes,
        transfer_sha256=row.transfer_sha256.hex(),
        voucher_sha256=row.voucher_sha256.hex(),
        write_time=row.write_time,
    )


def _text(columns: Mapping[str, str]) -> str:
    """Return a row of these columns as text, as `ledger/history/write.py` says it too."""
    said = [
        f"(extract(epoch FROM x.{name}) * 1000000)::bigint"
        if kind == "TIMESTAMPTZ"
        else f"coalesce(x.{name}::text, '')"
        for name, kind in columns.items()
    ]
    return f"concat_ws(chr(31), {', '.join(said)})"


# `x` reads every partition by its index on (book_id, seq).
@cache
def _piece(table: str) -> str:
    columns = COLUMNS[table]
    names = ", ".join(columns)
    return f"""
    WITH run AS (
        SELECT coalesce(max(block_no), %(first)s) AS last_block
        FROM (SELECT block_no, sum(transfers) OVER (ORDER BY block_no) AS entries FROM block
              WHERE book_id = %(book_id)s AND block_no >= %(first)s
                AND block_no <= least(%(last)s, %(first)s + %(most)s)) b
        WHERE entries <= %(most)s
    )
    SELECT run.last_block, z.rows, z.digest, z.lines,
           (SELECT coalesce(sum(transfers), 0) FROM block
            WHERE book_id = %(book_id)s AND block_no BETWEEN %(first)s AND run.last_block) AS sealed
    FROM run CROSS JOIN LATERAL (
        SELECT count(*) AS rows,
               coalesce(sum(('x' || left(md5({_text(columns)}), 15))::bit(60)::bigint), 0)
                   AS digest,
               string_agg(row_to_json(x)::text, chr(10) ORDER BY x.seq) AS lines
        FROM (SELECT {names} FROM {table}
              WHERE book_id = %(book_id)s AND seq >= %(first)s::bigint * 8192
                AND seq < (run.last_block + 1) * 8192 OFFSET 0) x
    ) z
    """


_DUE = """
SELECT d.book_id, d.acct_date, d.first_block, d.last_block
FROM book b JOIN book_day d ON d.book_id = b.book_id AND d.first_block = b.history_block + 1
WHERE d.state = 'closed' AND d.last_block >= d.first_block AND d.acct_date <= %(until)s
ORDER BY d.acct_date, d.book_id
"""

_KEEP = """
SELECT keep_history_day(
    %(book_id)s, %(acct_date)s, %(transfers)s, %(vouchers)s, %(transfer_bytes)s,
    %(voucher_bytes)s, %(transfer_sha256)s, %(voucher_sha256)s) AS done
"""

_COLUMNS = """d.book_id, d.acct_date, d.first_block, d.last_block, d.transfers, d.vouchers,
       d.transfer_bytes, d.voucher_bytes, d.transfer_sha256, d.voucher_sha256, d.write_time"""

_PAGE = f"""
SELECT {_COLUMNS} FROM history_day d
WHERE d.book_id = %(book_id)s AND (%(before)s::date IS NULL OR d.acct_date < %(before)s::date)
ORDER BY d.acct_date DESC LIMIT %(size)s
"""
