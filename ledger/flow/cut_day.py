"""Cut the day 日切: what is booked from now on has a later accounting date."""

from __future__ import annotations

from datetime import date, timedelta

from ledger.desk import Desk
from ledger.flow._days import date_of_book
from ledger.model import refuse
from ledger.store import day as store
from tongbao.ledger.v1 import reasons_pb2 as reasons


async def cut_day(desk: Desk, *, book_id: int, to: date) -> store.Day:
    """Move a book to the accounting date `to`; return the day that is open then.

    Nobody is turned away meanwhile. A book that is there already stays as it is.

    Raises Refused, in this order: BOOK_NOT_FOUND, CUT_DATE_REFUSED for a date before the
    book's, or after tomorrow's business date.
    """
    acct_date = await date_of_book(desk, book_id)
    latest = desk.clock.local().date() + timedelta(days=1)
    if to < acct_date or (to > acct_date and to > latest):
        raise refuse(
            reasons.REASON_CUT_DATE_REFUSED,
            book_id=book_id,
            to_date=to,
            acct_date=acct_date,
            latest=latest,
        )
    await store.cut(desk.db, book_id=book_id, to=to)
    open_date = await date_of_book(desk, book_id)  # Others may have cut further meanwhile.
    day = await store.find_day(desk.db, book_id=book_id, acct_date=open_date)
    assert day is not None, f"book {book_id} has no day {open_date}"
    return day
