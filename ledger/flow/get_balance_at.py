"""Get a balance of the past: as of a moment, or as of the end of an accounting date."""

from __future__ import annotations

from datetime import date, datetime

from ledger.desk import Desk
from ledger.flow._accounts import the_account
from ledger.store.account_view import AccountView, Named
from ledger.store.statement import BalanceAt, balance_at


async def get_balance_at(
    desk: Desk, named: Named, *, time: datetime | None = None, acct_date: date | None = None
) -> tuple[AccountView, BalanceAt]:
    """Return the account, and its booked balance as of `time` (what was booked at it counts) or
    as of the end of `acct_date`. Exactly one of them is given.

    What was on hold then is not counted. Before the first entry it is zero.

    Raises Refused: BOOK_UNKNOWN, ACCOUNT_NOT_FOUND.
    """
    view = await the_account(desk, named)
    balance = await balance_at(
        desk.db,
        book_id=view.book_id,
        account_id=view.account_id,
        time=time,
        acct_date=acct_date,
    )
    return view, balance
