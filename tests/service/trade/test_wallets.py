"""OpenWallet and GetWallet: the account before the wallet, the balance from the ledger."""

from __future__ import annotations

from tests.service.trade.shop import Shop, World, ask, reason, refused, serial, together
from tongbao.ledger.v1 import ledger_pb2
from tongbao.trade.v1 import trade_service_pb2 as pb

WALLET = ledger_pb2.ACCOUNT_KIND_WALLET


def opening(user_no: str, currency: str = "CNY") -> pb.OpenWalletRequest:
    return pb.OpenWalletRequest(user_no=user_no, currency_code=currency)


def reading(user_no: str, currency: str = "CNY") -> pb.GetWalletRequest:
    return pb.GetWalletRequest(user_no=user_no, currency_code=currency)


async def test_a_wallet_is_opened_with_its_account(world: World, shop: Shop):
    """The account belongs to the business code and the user."""
    user = f"u{serial()}"
    wallet = (await shop.stub.OpenWallet(opening(user))).wallet

    assert wallet.wallet_id.startswith("wlt_")
    assert (wallet.user_no, wallet.balance.currency_code) == (user, "CNY")
    assert wallet.balance.minor_units == 0
    owner = f"{shop.code}/{user}"
    assert (WALLET, owner, "CNY", shop.app.app_id) in world.ledger.opened


async def test_opening_again_returns_the_same_wallet_with_its_balance(world: World, shop: Shop):
    """Also ten at once; one per currency."""
    user = f"u{serial()}"
    settled = await together(*(shop.stub.OpenWallet(opening(user)) for _ in range(10)))
    world.ledger.balances[f"{shop.code}/{user}"] = 720
    again = await ask(shop.stub.OpenWallet, opening(user))
    dollars = await ask(shop.stub.OpenWallet, opening(user, "USD"))

    assert {answer.wallet.wallet_id for answer in settled} == {again.message.wallet.wallet_id}
    assert again.replayed
    assert again.message.wallet.balance.minor_units == 720
    assert not dollars.replayed
    assert dollars.message.wallet.wallet_id != again.message.wallet.wallet_id


async def test_no_account_no_wallet(world: World, shop: Shop):
    """When the ledger refuses, the wallet does not exist, and can be opened later."""
    user = f"u{serial()}"
    world.ledger.down = True
    try:
        assert await reason(shop.stub.OpenWallet(opening(user))) == "BOOK_UNKNOWN"
    finally:
        world.ledger.down = False
    assert await reason(shop.stub.GetWallet(reading(user))) == "WALLET_NOT_FOUND"
    assert not (await ask(shop.stub.OpenWallet, opening(user))).replayed


async def test_a_currency_that_nobody_counts_is_refused(shop: Shop):
    """Before anything is opened."""
    assert await refused(shop.stub.OpenWallet(opening("u1", "XYZ"))) == (
        "CURRENCY_UNKNOWN",
        {"currency_code": "XYZ"},
    )


async def test_the_balance_is_read_each_time(world: World, shop: Shop):
    """The wallet's row never changes, its balance does."""
    for balance in (5, 1005):
        world.ledger.balances[f"{shop.code}/u1"] = balance
        wallet = (await shop.stub.GetWallet(reading("u1"))).wallet
        assert (wallet.balance.currency_code, wallet.balance.minor_units) == ("CNY", balance)


async def test_wallets_of_others_do_not_exist(world: World, shop: Shop):
    """The same user number at another app, and another currency, are other wallets."""
    other = await world.bare_shop()
    assert await refused(other.stub.GetWallet(reading("u1"))) == (
        "WALLET_NOT_FOUND",
        {"currency_code": "CNY"},
    )
    assert await reason(shop.stub.GetWallet(reading("u1", "USD"))) == "WALLET_NOT_FOUND"
