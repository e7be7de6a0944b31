"""A wallet's account in the ledger, and what is in it."""

from __future__ import annotations

from tongbao.ledger.v1 import ledger_pb2
from tongbao.ledger.v1 import ledger_service_pb2 as ledger
from trade.desk import Desk
from trade.model import App, Wallet


async def open_account(desk: Desk, app: App, *, user_no: str, currency_code: str) -> None:
    """Open the account of a wallet; opening it again changes nothing."""
    account = _account(app, user_no=user_no, currency_code=currency_code)
    await desk.accounts.ask(ledger.OpenAccountItem(account=account))


async def balance_of(desk: Desk, app: App, wallet: Wallet) -> int:
    """Return what can be spent from the wallet, in minor units of its currency."""
    account = _account(app, user_no=wallet.user_no, currency_code=wallet.currency_code)
    answer = await desk.balances.ask(ledger.GetBalanceItem(account=account))
    balance: int = answer.balance.minor_units
    return balance


def _account(app: App, *, user_no: str, currency_code: str) -> ledger_pb2.AccountKey:
    return ledger_pb2.AccountKey(
        kind=ledger_pb2.ACCOUNT_KIND_WALLET,
        owner=f"{app.business_code}/{user_no}",
        currency_code=currency_code,
    )
