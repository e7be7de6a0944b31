"""CreateTrade: an order is accepted once, and refused for the first reason that holds."""

from __future__ import annotations

import pytest

from tests.service.trade.shop import (
    EXPIRY_SECONDS,
    RECHARGE,
    Shop,
    Trade,
    World,
    ask,
    money,
    reason,
    refused,
    serial,
    together,
)
from tongbao.trade.v1 import trade_service_pb2 as pb


async def test_an_order_is_accepted_and_nobody_is_charged(world: World, shop: Shop):
    """The trade says everything the order said, and what we know of it."""
    order = shop.order(1234, user_no="u7")
    trade = await shop.create(order)

    assert trade.state == Trade.STATE_CREATED
    assert (trade.version, trade.payment_no) == (1, "")
    assert len(trade.trade_no) == 26
    assert (trade.app_id, trade.business_code) == (shop.app.app_id, shop.code)
    assert (trade.order_no, trade.trace_no) == (order.order_no, f"{shop.code}-{order.order_no}")
    assert (trade.product_code, trade.merchant_id) == (shop.collect, shop.merchant_id)
    assert (trade.user_no, trade.subject) == ("u7", "tea")
    assert (trade.amount, trade.refunded_amount) == (money(1234), money(0))
    assert trade.create_time == trade.update_time
    life = trade.expire_time.ToNanoseconds() - trade.create_time.ToNanoseconds()
    assert life == EXPIRY_SECONDS * 10**9
    assert not [item for item in world.payment.asked if item.trade_no == trade.trade_no]
    now = await shop.trade(trade)
    assert now.trade == trade
    assert not now.HasField("payment")


async def test_a_recharge_has_a_user_and_no_merchant(shop: Shop):
    """It fills the wallet that the user has."""
    trade = await shop.create(shop.top_up(500))
    assert (trade.type, trade.merchant_id, trade.user_no) == (RECHARGE, "", "u1")


async def test_a_repetition_returns_the_trade_as_it_is_now(shop: Shop):
    """Marked, and with whatever happened to the trade since."""
    order = shop.order()
    request = pb.CreateTradeRequest(trade=order)
    first = await ask(shop.stub.CreateTrade, request)
    paid = (await shop.pay(first.message.trade)).message.trade
    again = await ask(shop.stub.CreateTrade, request)

    assert (first.replayed, again.replayed) == (False, True)
    assert again.message.trade == paid


async def test_refusals_come_in_the_order_of_the_contract(world: World, shop: Shop):
    """An order with every fault is refused for the first; mending one shows the next."""
    known = shop.order()
    await shop.create(known)
    wrong = shop.top_up(currency="XYZ", order_no=known.order_no, user_no="")
    wrong.product_code = "NO_SUCH"
    wrong.merchant_id = "nobody"
    seen = [await refused(shop.create(wrong))]
    wrong.order_no = f"order-{serial()}"
    seen.append(await refused(shop.create(wrong)))
    wrong.amount.currency_code = "USD"
    seen.append(await refused(shop.create(wrong)))
    wrong.product_code = shop.recharge
    seen.append(await refused(shop.create(wrong)))
    wrong.product_code = shop.collect
    seen.append(await refused(shop.create(wrong)))
    wrong.merchant_id = shop.merchant_id
    seen.append(await refused(shop.create(wrong)))
    wrong.product_code, wrong.merchant_id = shop.recharge, ""
    seen.append(await refused(shop.create(wrong)))
    wrong.user_no = "u1"
    seen.append(await refused(shop.create(wrong)))
    wrong.amount.currency_code = "CNY"

    assert (await shop.create(wrong)).state == Trade.STATE_CREATED
    assert seen == [
        ("REQUEST_REUSED", {"field": "order_no", "number": known.order_no}),
        ("CURRENCY_UNKNOWN", {"currency_code": "XYZ"}),
        ("PRODUCT_NOT_FOUND", {"product_code": "NO_SUCH"}),
        ("MERCHANT_REQUIRED", {"type": "RECHARGE"}),
        ("MERCHANT_NOT_FOUND", {"merchant_id": "nobody"}),
        (
            "MERCHANT_CURRENCY_MISSING",
            {"merchant_id": shop.merchant_id, "currency_code": "USD"},
        ),
        ("USER_REQUIRED", {}),
        ("WALLET_NOT_FOUND", {"currency_code": "USD"}),
    ]


async def test_a_collection_needs_a_merchant(shop: Shop):
    """MERCHANT_REQUIRED goes both ways."""
    assert await refused(shop.create(shop.order(merchant_id=""))) == (
        "MERCHANT_REQUIRED",
        {"type": "COLLECT"},
    )


REUSED = [
    {"amount": money(1001)},
    {"amount": money(1000, "USD")},
    {"subject": "coffee"},
    {"user_no": "u9"},
    {"merchant_id": "another"},
    {"product_code": "OTHER"},
]


async def test_an_order_number_stands_for_its_content_for_ever(shop: Shop):
    """Any other content under it is refused, whatever else is wrong with it."""
    order = shop.order()
    await shop.create(order)
    for change in REUSED:
        other = pb.NewTrade()
        other.CopyFrom(order)
        other.MergeFrom(pb.NewTrade(**change))
        assert await reason(shop.create(other)) == "REQUEST_REUSED", change


async def test_order_numbers_and_merchants_of_other_apps_are_not_there(world: World, shop: Shop):
    """Two apps may use one order number; a merchant of another app does not exist."""
    other = await world.shop()
    order = shop.order()
    mine = await shop.create(order)
    same_number = other.order(order_no=order.order_no)
    theirs = await other.create(same_number)
    strange = other.order(merchant_id=shop.merchant_id)

    assert theirs.trade_no != mine.trade_no
    assert await reason(other.create(strange)) == "MERCHANT_NOT_FOUND"


async def test_the_same_order_at_once_is_one_trade(shop: Shop):
    """Twenty times: one trade, nineteen repetitions."""
    request = pb.CreateTradeRequest(trade=shop.order())
    settled = await together(*(ask(shop.stub.CreateTrade, request) for _ in range(20)))
    assert len({answer.message.trade.trade_no for answer in settled}) == 1
    assert [answer.replayed for answer in settled].count(False) == 1


MALFORMED = [
    {"order_no": "no spaces"},
    {"order_no": "x" * 65},
    {"amount": money(0)},
    {"amount": money(-5)},
    {"amount": money(10**15 + 1)},
    {"amount": money(5, "cny")},
    {"subject": "x" * 129},
    {"user_no": "no spaces"},
    {"product_code": "lower"},
]


@pytest.mark.parametrize("fields", MALFORMED, ids=[str(index) for index in range(len(MALFORMED))])
async def test_orders_that_cannot_be_are_malformed(shop: Shop, fields):
    """The contract's rules are kept at the door."""
    order = shop.order()
    for name in fields:
        order.ClearField(name)
    order.MergeFrom(pb.NewTrade(**fields))
    assert await reason(shop.create(order)) == "INVALID_FIELDS"
