"""Get a balance of the past: as of a moment, or as of the end of an accounting date."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime

from ledger.desk import Desk
from ledger.flow._accounts import the_account
from ledger.flow._filed import last_filed_move
from ledger.store import filed
from ledger.store.account_view import AccountView, Named
from ledger.store.statement import BalanceAt, PastBalance, balance_at, filed_end


async def get_balance_at(
    desk: Desk, named: Named, *, time: datetime | None = None, acct_date: date | None = None
) -> tuple[AccountView, BalanceAt]:
    """Return the account, and its booked balance as of `time` (what was booked at it counts) or
    as of the end of `acct_date`. Exactly one of them is given.

    What was on hold then is not counted. Before the first entry it is zero. Of a closed day the
    balance is what was written of it; the files of one day at most are opened, for a time in it.

    Raises Refused: BOOK_UNKNOWN, ACCOUNT_NOT_FOUND, HISTORY_MISSING.
    """
    view = await the_account(desk, named)
    while True:
        past = await balance_at(
            desk.db,
            book_id=view.book_id,
            account_id=view.account_id,
            time=time,
            acct_date=acct_date,
        )
        if past.filed == await filed_end(desk.db, view.book_id):
            break
    return view, await _with_files(desk, view, past)


async def _with_files(desk: Desk, view: AccountView, past: PastBalance) -> BalanceAt:
    if past.filed_date is None:
        return past.balance
    entry = await last_filed_move(
        desk,
        account_id=view.account_id,
        day=await filed.day_of(desk.db, book_id=view.book_id, acct_date=past.filed_date),
        upto=past.upto,
    )
    if entry is None:
        return past.balance
    is_debit = entry.debit_id == view.account_id
    posted_minor = entry.debit_after if is_debit else entry.credit_after
    return replace(past.balance, posted_minor=posted_minor, seq=entry.seq)
