"""Which closed days are in files, as the table `history_day` says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime

from ledger.history.read import FiledDay
from mesh.db import Database, Row


async def day_of(db: Database, *, book_id: int, acct_date: date) -> FiledDay:
    """Return the day of that very date, which is in files."""
    [row] = await db.rows(_DAY, book_id=book_id, acct_date=acct_date)
    return _day(row)


async def days_of(
    db: Database, *, book_id: int, first_block: int, last_block: int, newest_first: bool, most: int
) -> Sequence[FiledDay]:
    """Return up to `most` days that have any of these blocks, in order or the newest first."""
    rows = await db.rows(
        _DAYS[newest_first],
        book_id=book_id,
        first_block=first_block,
        last_block=last_block,
        most=most,
    )
    return [_day(row) for row in rows]


async def days_of_account(
    db: Database,
    *,
    book_id: int,
    account_id: int,
    first_block: int,
    last_block: int,
    newest_first: bool,
    entries: int,
    most: int,
) -> Sequence[FiledDay]:
    """Return up to `most` days that have any of these blocks and on which the account was moved,
    in order or the newest first: as many as hold `entries` of its entries that move.
    """
    rows = await db.rows(
        _DAYS_OF_ACCOUNT[newest_first],
        book_id=book_id,
        account_id=account_id,
        first_block=first_block,
        last_block=last_block,
        entries=entries,
        most=most,
    )
    return [_day(row) for row in rows]


async def days_up_to(
    db: Database, last_blocks: Mapping[int, int], *, since: datetime | None
) -> Sequence[FiledDay]:
    """Return the days of these books up to a block of each, by book, in order: all of them, or
    those on which anything was booked at the time `since` or later.
    """
    rows = await db.rows(
        _DAYS_UP_TO,
        book_ids=list(last_blocks),
        last_blocks=list(last_blocks.values()),
        since=since,
    )
    return [_day(row) for row in rows]


async def days_since(db: Database, *, book_id: int, moment: datetime) -> Sequence[FiledDay]:
    """Return all days of a book on which anything was booked at that moment or later."""
    return [_day(row) for row in await db.rows(_DAYS_SINCE, book_id=book_id, moment=moment)]


async def days_of_week(db: Database, monday: date) -> Sequence[FiledDay]:
    """Return the days that rows in the partitions of a week may belong to, in order."""
    return [_day(row) for row in await db.rows(_DAYS_OF_WEEK, monday=monday)]


async def ever_held(db: Database, *, account_id: int) -> bool:
    """Return whether there was ever a hold on either side of the account."""
    [row] = await db.rows(_EVER_HELD, account_id=account_id)
    return bool(row.held)


def _day(row: Row) -> FiledDay:
    return FiledDay(
        book_id=row.book_id,
        acct_date=row.acct_date,
        first_block=row.first_block,
        last_block=row.last_block,
        transfer_sha256=row.transfer_sha256.hex(),
        voucher_sha256=row.voucher_sha256.hex(),
    )


_COLUMNS = """
h.book_id, h.acct_date, h.first_block, h.last_block, h.transfer_sha256, h.voucher_sha256
"""

_DAY = f"""
SELECT {_COLUMNS} FROM history_day h
WHERE h.book_id = %(book_id)s AND h.acct_date = %(acct_date)s
"""

_OVERLAPS = "h.last_block >= %(first_block)s AND h.first_block <= %(last_block)s"


def _days(order: str) -> str:
    return f"""
    SELECT {_COLUMNS} FROM history_day h
    WHERE h.book_id = %(book_id)s AND {_OVERLAPS}
    ORDER BY h.acct_date {order} LIMIT %(most)s
    """


# The days before a day hold so many entries; when that is enough the day is not needed.
def _days_of_account(order: str) -> str:
    return f"""
    SELECT {_COLUMNS} FROM (
        SELECT {_COLUMNS}, coalesce(sum(d.transfers) OVER (
                   ORDER BY h.acct_date {order} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
               ), 0) AS before
        FROM account_day d JOIN history_day h USING (book_id, acct_date)
        WHERE d.book_id = %(book_id)s AND d.account_id = %(account_id)s AND {_OVERLAPS}
    ) h
    WHERE h.before < %(entries)s ORDER BY h.acct_date {order} LIMIT %(most)s
    """


_DAYS = {False: _days("ASC"), True: _days("DESC")}
_DAYS_OF_ACCOUNT = {False: _days_of_account("ASC"), True: _days_of_account("DESC")}

_DAYS_UP_TO = f"""
SELECT {_COLUMNS} FROM history_day h
JOIN unnest(%(book_ids)s::integer[], %(last_blocks)s::bigint[]) AS b (book_id, last_block)
  ON h.book_id = b.book_id AND h.last_block <= b.last_block
CROSS JOIN LATERAL last_block_before(b.book_id, %(since)s::timestamptz, NULL) AS s (block_no)
WHERE h.last_block > s.block_no
ORDER BY h.book_id, h.acct_date
"""

_DAYS_SINCE = f"""
SELECT {_COLUMNS} FROM history_day h
CROSS JOIN last_block_before(%(book_id)s::integer, %(moment)s::timestamptz, NULL) AS b (block_no)
WHERE h.book_id = %(book_id)s AND h.last_block > b.block_no
ORDER BY h.acct_date
"""

_DAYS_OF_WEEK = f"""
SELECT {_COLUMNS} FROM week_blocks(%(monday)s) w
JOIN history_day h ON h.book_id = w.book_id
 AND h.first_block <= w.last_block AND h.last_block >= w.first_block
ORDER BY h.book_id, h.acct_date
"""

_EVER_HELD = """
SELECT EXISTS (SELECT FROM hold WHERE debit_id = %(account_id)s::bigint)
    OR EXISTS (SELECT FROM hold WHERE credit_id = %(account_id)s::bigint) AS held
"""
