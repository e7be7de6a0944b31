"""Turn the days: cut those that are over, close those that are cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from ledger.desk import Desk
from ledger.flow.close_day import close_day
from ledger.flow.get_day_trial_balance import TrialBalance, get_day_trial_balance
from ledger.store import day as store
from mesh.batch import NotExecuted, Rejected, Undone, Unknown
from mesh.duty import unbroken
from mesh.errors import Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Turned:
    """A day that was cut, with its trial balance; or why it could not be closed."""

    book_id: int
    acct_date: date
    balance: TrialBalance | None = None
    problem: str = ""


async def turn_days(desk: Desk) -> Sequence[Turned]:
    """Bring every book to the business date and close its days in order; return these.

    After a day that does not close the later ones of its book wait. Nothing is done twice,
    however many do this at the same time.
    """
    today = desk.clock.local().date()
    for book_id in await store.books_before(desk.db, today):
        await store.cut(desk.db, book_id=book_id, to=today)
    turned: list[Turned] = []
    stuck: set[int] = set()
    for book_id, acct_date in await store.cut_days(desk.db):
        if book_id in stuck:
            continue
        try:
            with unbroken():
                await close_day(desk, book_id=book_id, acct_date=acct_date)
        except (Refused, Rejected, NotExecuted, Undone, Unknown) as error:
            stuck.add(book_id)
            turned.append(Turned(book_id=book_id, acct_date=acct_date, problem=str(error)))
            continue
        balance = await get_day_trial_balance(
            desk, book_id=book_id, first=acct_date, last=acct_date
        )
        turned.append(Turned(book_id=book_id, acct_date=acct_date, balance=balance))
    return turned
