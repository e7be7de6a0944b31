"""Block an account: no debits 止付, no credits 止收, or neither."""

from __future__ import annotations

from dataclasses import replace

from ledger.desk import Desk
from ledger.flow._accounts import Request, change_once, the_customers_account
from ledger.store.account_change import Verb
from ledger.store.account_view import AccountView


async def block_account(desk: Desk, request: Request, *, marks: int) -> tuple[AccountView, bool]:
    """Add `marks` (DEBIT_BLOCKED, CREDIT_BLOCKED) to the account's status; return it, and
    whether the request was known.

    A posting that is answered later than this meets the block. What is on hold stays so, and
    may be captured or let go.

    Raises Refused, in this order: BOOK_UNKNOWN, ACCOUNT_NOT_FOUND, ACCOUNT_INDISPENSABLE,
    REQUEST_REUSED, ACCOUNT_CLOSED.
    """
    view = await the_customers_account(desk, request.named)
    return await change_once(desk, view, replace(request.change(Verb.BLOCK), mark=marks))
