"""Close an account 销户, for good."""

from __future__ import annotations

from dataclasses import replace

from ledger.desk import Desk
from ledger.flow._accounts import Request, change_once, the_customers_account
from ledger.store.account_change import Verb
from ledger.store.account_view import CLOSED, AccountView


async def close_account(desk: Desk, request: Request) -> tuple[AccountView, bool]:
    """Close the account to debits and credits; return it, and whether the request was known.

    Only at a balance of zero with nothing on hold. Opening it again finds it closed.

    Raises Refused, in this order: BOOK_UNKNOWN, ACCOUNT_NOT_FOUND, ACCOUNT_INDISPENSABLE,
    REQUEST_REUSED, ACCOUNT_CLOSED, ACCOUNT_NOT_EMPTY.
    """
    view = await the_customers_account(desk, request.named)
    return await change_once(desk, view, replace(request.change(Verb.CLOSE), mark=CLOSED))
