"""Which days a report is about: closed ones, so that it never changes."""

from __future__ import annotations

from datetime import date

from ledger.desk import Desk
from ledger.model import refuse
from ledger.store import day as store
from tongbao.ledger.v1 import reasons_pb2 as reasons


async def date_of_book(desk: Desk, book_id: int) -> date:
    """Return the accounting date that a book is at. Raises Refused(BOOK_NOT_FOUND)."""
    acct_date = await store.date_of(desk.db, book_id)
    if acct_date is None:
        raise refuse(reasons.REASON_BOOK_NOT_FOUND, book_id=book_id)
    return acct_date


async def closed_span(
    desk: Desk, *, book_id: int, first: date, last: date
) -> tuple[store.Day, store.Day]:
    """Return the first and the last day of a book from `first` to `last`, all closed.

    Raises Refused, in this order: BOOK_NOT_FOUND, DAY_NOT_FOUND when there is no day between
    them, DAY_NOT_CLOSED with the first one that is not.
    """
    await date_of_book(desk, book_id)
    days = await store.days_between(desk.db, book_id=book_id, first=first, last=last)
    if not days:
        raise refuse(reasons.REASON_DAY_NOT_FOUND, book_id=book_id, acct_date=last)
    await demand_closed(desk, book_id=book_id, last=days[-1].acct_date)
    return days[0], days[-1]


async def demand_closed(desk: Desk, *, book_id: int, last: date) -> None:
    """Raise Refused(DAY_NOT_CLOSED) unless every day of the book up to `last` is closed."""
    unclosed = await store.unclosed_until(desk.db, book_id=book_id, last=last)
    if unclosed is not None:
        raise refuse(reasons.REASON_DAY_NOT_CLOSED, book_id=book_id, acct_date=unclosed)
