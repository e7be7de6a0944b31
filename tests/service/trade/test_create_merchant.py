"""CreateMerchant: its accounts before itself, once per request, refusals in order."""

from __future__ import annotations

import pytest

from tests.service.trade.shop import KEEP, Shop, World, ask, reason, refused, serial, together
from tongbao.ledger.v1 import ledger_pb2
from tongbao.trade.v1 import setup_pb2
from tongbao.trade.v1 import trade_ops_service_pb2 as ops

KINDS = (
    ledger_pb2.ACCOUNT_KIND_MERCHANT_PENDING,
    ledger_pb2.ACCOUNT_KIND_MERCHANT_AVAILABLE,
    ledger_pb2.ACCOUNT_KIND_MERCHANT_RESERVE,
)


def request(shop: Shop, **fields) -> ops.CreateMerchantRequest:
    wanted = {
        "request_id": f"merchant-{serial()}",
        "app_id": shop.app.app_id,
        "name": "tea",
        "currency_codes": ["CNY", "USD"],
        "fee": setup_pb2.FeeTerms(rate_ppm=6000, least_minor=1, refund_policy=KEEP),
    }
    return ops.CreateMerchantRequest(**(wanted | fields))


async def test_a_merchant_is_made_with_its_accounts_in_each_currency(world: World, shop: Shop):
    """The accounts are opened on behalf of its app; the terms come back as they were."""
    wanted = request(shop)
    merchant = (await world.ops.CreateMerchant(wanted)).merchant

    assert merchant.merchant_id.startswith("mch_")
    assert list(merchant.currency_codes) == ["CNY", "USD"]
    assert merchant.fee == wanted.fee
    opened = [one for one in world.ledger.opened if one[1] == merchant.merchant_id]
    assert sorted(opened) == sorted(
        (kind, merchant.merchant_id, currency, shop.app.app_id)
        for kind in KINDS
        for currency in ("CNY", "USD")
    )


async def test_no_account_no_merchant(world: World, shop: Shop):
    """When the ledger refuses, nothing is written and the request id stays free."""
    wanted = request(shop)
    world.ledger.down = True
    try:
        assert await reason(world.ops.CreateMerchant(wanted)) == "BOOK_UNKNOWN"
    finally:
        world.ledger.down = False
    names = world.trade.rows("SELECT 1 FROM merchant WHERE name = 'tea' AND app_id = %(app_id)s",
                             app_id=shop.app.app_id)  # fmt: skip
    assert names == []
    assert not (await ask(world.ops.CreateMerchant, wanted)).replayed


async def test_a_repetition_returns_the_same_merchant(world: World, shop: Shop):
    """Also ten at once: one merchant."""
    wanted = request(shop)
    settled = await together(*(world.ops.CreateMerchant(wanted) for _ in range(10)))
    again = await ask(world.ops.CreateMerchant, wanted)

    assert {answer.merchant.merchant_id for answer in settled} == {
        again.message.merchant.merchant_id
    }
    assert again.replayed


async def test_refusals_come_in_the_order_of_the_contract(world: World, shop: Shop):
    """A request with every fault is refused for the first; mending one shows the next."""
    known = request(shop)
    await world.ops.CreateMerchant(known)
    wrong = request(
        shop, request_id=known.request_id, app_id="nobody", currency_codes=["CNY", "XYZ"]
    )
    seen = [await refused(world.ops.CreateMerchant(wrong))]
    wrong.request_id = f"merchant-{serial()}"
    seen.append(await refused(world.ops.CreateMerchant(wrong)))
    wrong.app_id = shop.app.app_id
    seen.append(await refused(world.ops.CreateMerchant(wrong)))
    wrong.currency_codes[:] = ["CNY"]

    assert not (await ask(world.ops.CreateMerchant, wrong)).replayed
    assert seen == [
        ("REQUEST_REUSED", {"field": "request_id", "number": known.request_id}),
        ("APP_NOT_FOUND", {"app_id": "nobody"}),
        ("CURRENCY_UNKNOWN", {"currency_code": "XYZ"}),
    ]


MALFORMED = [
    {"fee": setup_pb2.FeeTerms(rate_ppm=1_000_001, refund_policy=KEEP)},
    {"fee": setup_pb2.FeeTerms(rate_ppm=1)},
    {"fee": setup_pb2.FeeTerms(least_minor=-1, refund_policy=KEEP)},
    {"currency_codes": []},
    {"currency_codes": ["cny"]},
    {"currency_codes": ["CNY", "CNY"]},
]


@pytest.mark.parametrize("fields", MALFORMED, ids=[str(index) for index in range(len(MALFORMED))])
async def test_terms_that_cannot_be_are_malformed(world: World, shop: Shop, fields):
    """The contract's rules are kept at the door."""
    assert await reason(world.ops.CreateMerchant(request(shop, **fields))) == "INVALID_FIELDS"
