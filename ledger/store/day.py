"""Accounting days: which there are, cutting one off, closing it, periods of income."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum, auto

from mesh.db import Database, Row


class DayState(StrEnum):
    """How far a day is. Mirrors `BookDay.State` in the contract."""

    OPEN = auto()
    CUT = auto()
    CLOSED = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """An accounting day. `last_block` is None while it is open, and before `first_block` when
    it has no blocks. Times are business time."""

    book_id: int
    acct_date: date
    first_block: int
    last_block: int | None
    state: DayState
    cut_time: datetime | None
    close_time: datetime | None


class StepState(StrEnum):
    """How far the closing of a day is."""

    MORE = auto()
    BUSY = auto()  # Somebody else takes a step at this very moment.
    CLOSED = auto()
    UNBALANCED = auto()  # Nothing is left of it; the next step is the first one again.


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What came of a step; `problem` says why a day is UNBALANCED."""

    state: StepState
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """Days whose income and expenses are carried into profit; `booked` when all of it is."""

    from_date: date
    to_date: date
    claim_date: date
    booked: bool


async def date_of(db: Database, book_id: int) -> date | None:
    """Return the accounting date that a book is at; None when there is no such book."""
    rows = await db.rows("SELECT acct_date FROM book WHERE book_id = %(id)s", id=book_id)
    return rows[0].acct_date if rows else None


async def books_before(db: Database, today: date) -> Sequence[int]:
    """Return the books that are at a date before `today`."""
    sql = "SELECT book_id FROM book WHERE acct_date < %(today)s ORDER BY book_id"
    return [row.book_id for row in await db.rows(sql, today=today)]


async def cut_days(db: Database) -> Sequence[tuple[int, date]]:
    """Return book and date of every day that is cut and not closed, oldest first."""
    return [(row.book_id, row.acct_date) for row in await db.rows(_CUT_DAYS)]


async def find_day(db: Database, *, book_id: int, acct_date: date) -> Day | None:
    """Return the day of that very date; None when the book has none."""
    rows = await db.rows(_FIND, book_id=book_id, acct_date=acct_date)
    return _day(rows[0]) if rows else None


async def days_between(db: Database, *, book_id: int, first: date, last: date) -> Sequence[Day]:
    """Return the first and the last day of a book from `first` to `last`: none, one or two."""
    rows = await db.rows(_BETWEEN, book_id=book_id, first=first, last=last)
    return [_day(row) for row in rows]


async def unclosed_until(db: Database, *, book_id: int, last: date) -> date | None:
    """Return the first date up to `last` that is not closed; None when all are."""
    rows = await db.rows(_UNCLOSED, book_id=book_id, last=last)
    return rows[0].acct_date if rows else None


async def page_of_days(
    db: Database, *, book_id: int, before: date | None, size: int
) -> Sequence[Day]:
    """Return up to `size` days of a book before a date, the newest first."""
    rows = await db.rows(_PAGE, book_id=book_id, before=before, size=size)
    return [_day(row) for row in rows]


async def cut(db: Database, *, book_id: int, to: date) -> bool:
    """Cut the day of a book; return whether it was before `to`."""
    sql = "SELECT day_cut(%(book_id)s, %(to)s) AS done"
    [row] = await db.rows(sql, book_id=book_id, to=to)
    return bool(row.done)


async def close_step(db: Database, *, book_id: int, acct_date: date, most: int) -> Step:
    """Take one step towards closing a day, over `most` entries or accounts.

    Raises Rejected when it is not to be closed now: not cut, or not the next one.
    """
    [row] = await db.rows(_CLOSE, book_id=book_id, acct_date=acct_date, most=most)
    return Step(state=StepState(row.o_state), problem=row.o_problem or "")


async def claim_period(db: Database, *, book_id: int, to: date) -> Period | None:
    """Return the period that ends with `to`, claimed unless it was before.

    None when there is one that ends later, or one that is not booked yet.
    """
    await db.rows(_CLAIM, book_id=book_id, to=to)
    rows = await db.rows(_PERIOD, book_id=book_id, to=to)
    if not rows:
        return None
    return Period(
        from_date=rows[0].from_date,
        to_date=to,
        claim_date=rows[0].claim_date,
        booked=rows[0].book_time is not None,
    )


async def last_period_end(db: Database, book_id: int) -> date | None:
    """Return the last date of the last period that was claimed; None before the first one."""
    sql = "SELECT max(to_date) AS to_date FROM income_period WHERE book_id = %(book_id)s"
    [row] = await db.rows(sql, book_id=book_id)
    return row.to_date if row.to_date is not None else None


async def mark_booked(db: Database, *, book_id: int, to: date) -> None:
    """Note that all of a period is booked."""
    await db.rows(_BOOKED, book_id=book_id, to=to)


async def business_code_of(db: Database, book_id: int) -> str | None:
    """Return a business line that is kept in a book; None when none is."""
    sql = "SELECT min(business_code) AS code FROM book_of WHERE book_id = %(book_id)s"
    [row] = await db.rows(sql, book_id=book_id)
    return None if row.code is None else str(row.code)


def _day(row: Row) -> Day:
    return Day(
        book_id=row.book_id,
        acct_date=row.acct_date,
        first_block=row.first_block,
        last_block=row.last_block,
        state=DayState(row.state),
        cut_time=row.cut_time,
        close_time=row.close_time,
    )


_COLUMNS = "book_id, acct_date, first_block, last_block, state, cut_time, close_time"

_CUT_DAYS = """
SELECT book_id, acct_date FROM book_day WHERE state = 'cut' ORDER BY acct_date, book_id
"""

_FIND = f"""
SELECT {_COLUMNS} FROM book_day WHERE book_id = %(book_id)s AND acct_date = %(acct_date)s
"""

_BETWEEN = f"""
SELECT {_COLUMNS} FROM book_day
WHERE book_id = %(book_id)s AND acct_date IN (
    SELECT unnest(ARRAY[min(acct_date), max(acct_date)]) FROM book_day
    WHERE book_id = %(book_id)s AND acct_date BETWEEN %(first)s AND %(last)s
) ORDER BY acct_date
"""

_UNCLOSED = """
SELECT acct_date FROM book_day
WHERE book_id = %(book_id)s AND acct_date <= %(last)s AND state <> 'closed'
ORDER BY acct_date LIMIT 1
"""

_PAGE = f"""
SELECT {_COLUMNS} FROM book_day
WHERE book_id = %(book_id)s AND (%(before)s::date IS NULL OR acct_date < %(before)s::date)
ORDER BY acct_date DESC LIMIT %(size)s
"""

_CLOSE = """
SELECT o_state, o_problem FROM close_day(%(book_id)s, %(acct_date)s, %(most)s)
"""

# Of two that claim behind the same period one wins, whatever their ends: `from_date` is unique.
_CLAIM = """
INSERT INTO income_period (book_id, from_date, to_date, claim_date)
SELECT %(book_id)s, coalesce(
           (SELECT max(to_date) + 1 FROM income_period WHERE book_id = %(book_id)s),
           (SELECT min(acct_date) FROM book_day WHERE book_id = %(book_id)s)), %(to)s,
       (SELECT acct_date FROM book WHERE book_id = %(book_id)s)
WHERE NOT EXISTS (
    SELECT FROM income_period
    WHERE book_id = %(book_id)s AND (to_date >= %(to)s OR book_time IS NULL))
ON CONFLICT DO NOTHING
"""

_PERIOD = """
SELECT from_date, claim_date, book_time FROM income_period
WHERE book_id = %(book_id)s AND to_date = %(to)s
"""

_BOOKED = """
UPDATE income_period SET book_time = business_now()
WHERE book_id = %(book_id)s AND to_date = %(to)s AND book_time IS NULL
"""
