"""Defects seen in other systems, about orders and amounts. Sentences: docs/requirements.md."""

import asyncio

import grpc

from tests.defects.mall import Mall
from tests.service.trade.shop import money, reason
from tests.services import info_of
from tests.waiting import eventually


async def test_defect_03_a_repeated_number_with_another_amount_returns_the_first(mall: Mall):
    """The same content is the same order; another amount is refused."""
    order = mall.shop.order(1_000)
    first = await mall.shop.create(order)
    assert (await mall.shop.create(order)).trade_no == first.trade_no

    order.amount.CopyFrom(money(1_001))

    assert await reason(mall.shop.create(order)) == "REQUEST_REUSED"


async def test_defect_09_two_refunds_race_and_both_pass(mall: Mall):
    """Together they are more than was paid: one of them is refused, whoever is first."""
    trade = await mall.until(await mall.order(10_000), "paid")

    answers = await asyncio.gather(
        *(mall.shop.refund(trade, 6_000) for _ in range(4)), return_exceptions=True
    )

    refused = [one for one in answers if isinstance(one, grpc.aio.AioRpcError)]
    assert [info_of(one).reason for one in refused] == ["REFUND_EXCEEDS_TRADE"] * 3
    rows = mall.services["payment"].rows
    await eventually(lambda: rows("SELECT state FROM refund") == [("succeeded",)])
    assert rows("SELECT refunded_minor FROM payment") == [(6_000,)]
    moved = [one["moved_minor"] for one in await mall.truth() if one["kind"] == "refund"]
    assert moved == [6_000]


async def test_defect_12_amounts_pass_through_floating_point(mall: Mall):
    """Times its rate in ppm it is no double: exact to the minor unit in every service."""
    amount = 999_999_999_999_981
    assert int(float(amount) * 6_000) != amount * 6_000
    trade = await mall.until(await mall.order(amount), "paid")

    assert trade.amount.minor_units == amount
    for service, table in (("payment", "payment"), ("channel", "attempt")):
        assert mall.services[service].rows(f"SELECT amount_minor FROM {table}") == [(amount,)]
    await mall.booked(
        **{
            "clearing__sim-a": -amount + 3_800_000_000_000,
            "merchant_pending__merchant": amount - 6_000_000_000_000,
            "fee_income__": 6_000_000_000_000,
            "channel_cost__": -3_800_000_000_000,
        }
    )
    assert [one["moved_minor"] for one in await mall.truth()] == [amount]
    assert await mall.webhook_amount(trade) == str(amount)
