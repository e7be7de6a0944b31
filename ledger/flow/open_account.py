"""Open an account, before anything can be booked on it."""

from __future__ import annotations

import asyncio

from ledger.desk import Desk
from ledger.model import BALANCE, Account, AccountKind, refuse
from mesh.money import known
from tongbao.ledger.v1 import reasons_pb2 as reasons

# What templates name beside the accounts of a wallet, a merchant or a channel. The rest is named
# only by templates that open what they miss.
_SYSTEM = (
    (AccountKind.REFUND_TRANSIT, ""),
    (AccountKind.SUSPENSE, ""),
    (AccountKind.DUPLICATE, ""),
    (AccountKind.ESCROW, ""),
    (AccountKind.FEE_INCOME, ""),
    (AccountKind.CHANNEL_COST, ""),
    (AccountKind.MARKETING_EXPENSE, ""),
    (AccountKind.CLEARING, BALANCE),
)


async def open_account(desk: Desk, account: Account) -> None:
    """Open the account, and with it the system accounts of its currency, unless they are open.

    Call it before a merchant, wallet or channel account goes live: an event that meets a
    missing account is refused for ever (decisions.md 12).

    Raises Refused: CURRENCY_UNKNOWN, BOOK_UNKNOWN.
    """
    if not known(account.currency_code):
        raise refuse(reasons.REASON_CURRENCY_UNKNOWN, currency_code=account.currency_code)
    book_id = await desk.accounts.line(account.business_code)
    system = [Account(kind, owner, account.currency_code) for kind, owner in _SYSTEM]
    await asyncio.gather(*(desk.accounts.open(book_id, each) for each in [account, *system]))
