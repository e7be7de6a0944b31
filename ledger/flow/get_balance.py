"""Get the balance of one account."""

from __future__ import annotations

from ledger.desk import Desk
from ledger.model import Account, refuse
from ledger.store.account import find_account
from tongbao.ledger.v1 import reasons_pb2 as reasons


async def get_balance(desk: Desk, account: Account) -> int:
    """Return the posted balance in minor units, in the account's normal direction.

    Raises Refused: BOOK_UNKNOWN, ACCOUNT_NOT_FOUND.
    """
    book_id = await desk.accounts.book_of(account.business_code)
    found = await find_account(desk.db, book_id=book_id, name=account.name)
    if found is None:
        raise refuse(reasons.REASON_ACCOUNT_NOT_FOUND, account=account.name)
    return found.balance_minor
