"""Unblock an account: it takes again what it was blocked for."""

from __future__ import annotations

from dataclasses import replace

from ledger.desk import Desk
from ledger.flow._accounts import Request, change_once, the_account
from ledger.store.account_change import Verb
from ledger.store.account_view import AccountView


async def unblock_account(desk: Desk, request: Request, *, marks: int) -> tuple[AccountView, bool]:
    """Take `marks` (DEBIT_BLOCKED, CREDIT_BLOCKED) off the account's status; return it, and
    whether the request was known.

    What was refused while it was blocked stays refused.

    Raises Refused, in this order: BOOK_UNKNOWN, ACCOUNT_NOT_FOUND, REQUEST_REUSED,
    ACCOUNT_CLOSED.
    """
    view = await the_account(desk, request.named)
    return await change_once(desk, view, replace(request.change(Verb.UNBLOCK), unmark=marks))
