"""What the tests of accounting days share: turning days, reading what was written of them."""

from datetime import timedelta

from ledger.flow.close_day import close_day
from ledger.flow.cut_day import cut_day
from tests.service.ledger.books import BOOK


async def next_day(desk):
    """Move business time on by a day and cut; return the date that is over."""
    over = desk.clock.local().date()
    await desk.clock.advance(desk.db, timedelta(days=1))
    await cut_day(desk, book_id=BOOK, to=desk.clock.local().date())
    return over


async def closed_day(desk):
    """Cut the day and close it; return its date."""
    over = await next_day(desk)
    await close_day(desk, book_id=BOOK, acct_date=over)
    return over


async def all_of(desk, sql, **params):
    """Return the rows of `sql` as plain tuples."""
    return [tuple(row) for row in await desk.db.rows(sql, **params)]


async def account_days(desk, acct_date):
    """Return opening, debit, credit, closing and transfers of a day by account."""
    rows = await desk.db.rows(
        """
        SELECT name, opening, d.debit, d.credit, closing, transfers
        FROM account_day d JOIN account USING (account_id) WHERE acct_date = %(acct_date)s
        """,
        acct_date=acct_date,
    )
    return {row.name: tuple(row)[1:] for row in rows}
