"""BatchCreateTrades, BatchCreateRefunds, BatchGetTrades: each item on its own, in order."""

from __future__ import annotations

from google.rpc import code_pb2

from tests.service.trade.shop import Shop, Trade, World, reason, serial
from tongbao.trade.v1 import trade_service_pb2 as pb


async def creates(shop: Shop, *orders: pb.NewTrade) -> list[pb.CreateTradeResult]:
    items = [pb.CreateTradeRequest(trade=order) for order in orders]
    return (await shop.stub.BatchCreateTrades(pb.BatchCreateTradesRequest(items=items))).results


def told(result) -> str:
    return result.status.reason if result.HasField("status") else "OK"


async def test_orders_are_accepted_each_on_its_own(shop: Shop):
    """New, repeated, reused, refused and malformed ones, in the order of the items."""
    known = shop.order()
    await shop.create(known)
    reused = shop.order(order_no=known.order_no, subject="other")
    orders = [shop.order(), known, reused, shop.order(merchant_id="x"), shop.order(0), shop.order()]
    results = await creates(shop, *orders)
    assert [told(one) for one in results] == [
        "OK", "OK", "REQUEST_REUSED", "MERCHANT_NOT_FOUND", "INVALID_FIELDS", "OK",
    ]  # fmt: skip
    assert [one.replayed for one in results] == [False, True, False, False, False, False]
    assert [results[place].response.trade.order_no for place in (0, 1, 5)] == [
        orders[place].order_no for place in (0, 1, 5)
    ]
    assert not any(one.item_id for one in results)


async def test_the_same_order_many_times_in_one_call_is_one_trade(shop: Shop):
    """One is new, the others are repetitions."""
    results = await creates(shop, *[shop.order()] * 20)
    assert len({one.response.trade.trade_no for one in results}) == 1
    assert sum(one.replayed for one in results) == 19


async def test_refunds_of_one_trade_in_one_call_never_exceed_it(shop: Shop):
    """Ten of 300 from 1000: three pass."""
    trade = await shop.paid(1000)
    items = [shop.giving_back(trade, 300) for _ in range(10)]
    request = pb.BatchCreateRefundsRequest(items=items)
    results = (await shop.stub.BatchCreateRefunds(request)).results
    assert sorted(map(told, results)) == ["OK"] * 3 + ["REFUND_EXCEEDS_TRADE"] * 7
    paid = [one for one in results if told(one) == "OK"]
    orders = {item.refund_order_no for item in items}
    assert {one.response.refund.refund_order_no for one in paid} <= orders
    again = (await shop.stub.BatchCreateRefunds(request)).results
    assert [one.replayed for one in again] == [told(one) == "OK" for one in results]


async def test_trades_are_read_each_by_either_number_and_only_ones_own(world: World, shop: Shop):
    """Another app's is not there; the others are."""
    mine, other = await shop.paid(), await (await world.shop()).create()
    items = [
        pb.GetTradeRequest(trade_no=mine.trade_no),
        pb.GetTradeRequest(trade_no=other.trade_no),
        pb.GetTradeRequest(),
        pb.GetTradeRequest(order_no=mine.order_no),
    ]
    results = (await shop.stub.BatchGetTrades(pb.BatchGetTradesRequest(items=items))).results
    assert [told(one) for one in results] == ["OK", "TRADE_NOT_FOUND", "INVALID_FIELDS", "OK"]
    assert list(results[2].status.metadata) == ["key"]  # Which field, and why.
    assert results[1].status.code == code_pb2.NOT_FOUND
    assert results[0].response == results[3].response
    assert results[0].response.trade == mine


async def test_512_are_taken_and_one_more_is_not(world: World, shop: Shop):
    """The call as a whole is malformed; nothing of it is done."""
    before = world.trade.rows("SELECT count(*) FROM trade")
    orders = [shop.order(subject=f"s{serial()}") for _ in range(513)]
    items = [pb.CreateTradeRequest(trade=order) for order in orders]
    too_many = pb.BatchCreateTradesRequest(items=items)
    assert await reason(shop.stub.BatchCreateTrades(too_many)) == "INVALID_FIELDS"
    assert world.trade.rows("SELECT count(*) FROM trade") == before
    results = await creates(shop, *orders[:512])
    assert {one.response.trade.state for one in results} == {Trade.STATE_CREATED}
