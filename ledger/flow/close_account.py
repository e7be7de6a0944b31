"""Close an account 销户, for good."""

from __future__ import annotations

from dataclasses import replace

from ledger.desk import Desk
from ledger.flow._accounts import Request, change_once, the_account
from ledger.model import BALANCE, NATURES, Account, AccountKind, refuse
from ledger.store.account_change import Verb
from ledger.store.account_view import CLOSED, AccountView
from tongbao.ledger.v1 import reasons_pb2 as reasons


async def close_account(desk: Desk, request: Request) -> tuple[AccountView, bool]:
    """Close the account to debits and credits; return it, and whether the request was known.

    Only at a balance of zero with nothing on hold. Opening it again finds it closed.

    Raises Refused, in this order: BOOK_UNKNOWN, ACCOUNT_NOT_FOUND, ACCOUNT_INDISPENSABLE,
    REQUEST_REUSED, ACCOUNT_CLOSED, ACCOUNT_NOT_EMPTY.
    """
    view = await the_account(desk, request.named)
    if _is_everybodys(view.account):
        kind = view.account.kind.name
        raise refuse(reasons.REASON_ACCOUNT_INDISPENSABLE, account_id=view.account_id, kind=kind)
    return await change_once(desk, view, replace(request.change(Verb.CLOSE), mark=CLOSED))


def _is_everybodys(account: Account) -> bool:
    """Return whether what others book needs it: its events would be refused for ever."""
    of_wallets = account.kind is AccountKind.CLEARING and account.owner == BALANCE
    return of_wallets or not NATURES[account.kind].owned
