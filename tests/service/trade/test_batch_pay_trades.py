"""BatchPayTrades: each item on its own, results in order."""

from __future__ import annotations

from google.rpc import code_pb2

from tests.service.trade.neighbours import Payment, refusal
from tests.service.trade.shop import BALANCE, Shop, Trade, View, World, reason, serial
from tongbao.trade.v1 import trade_service_pb2 as pb


async def test_every_item_gets_its_own_answer_in_order(world: World, shop: Shop):
    """Paid, failed, refused, repeated and broken ones do not disturb each other."""
    known = shop.payment()
    first = (await shop.stub.PayTrade(known)).trade
    closed = (await shop.pay()).message.trade

    def treated(item):
        if item.subject == "fails":
            return world.payment.now(item, state=Payment.STATE_FAILED, failure_reason="NO")
        if item.subject == "breaks":
            return refusal("REQUEST_REUSED", "tongbao")
        return world.payment.now(item, state=Payment.STATE_SUCCEEDED)

    world.payment.then(*[treated] * 4)
    items = [
        shop.payment(),
        shop.payment(shop.order(subject="fails")),
        known,
        shop.payment(closed),
        shop.payment("0" * 26),
        shop.payment(shop.order(user_no="nobody"), tool=BALANCE),
        shop.payment(shop.order(subject="breaks")),
        shop.payment(),
    ]
    results = (await shop.stub.BatchPayTrades(pb.BatchPayTradesRequest(items=items))).results

    seen = [
        (result.status.code, result.status.reason, result.status.domain)
        if result.HasField("status")
        else (result.response.trade.state, result.response.payment.state)
        for result in results
    ]
    paid = (Trade.STATE_PAID, View.STATE_SUCCEEDED)
    precondition, missing = code_pb2.FAILED_PRECONDITION, code_pb2.NOT_FOUND
    assert seen == [
        paid,
        (Trade.STATE_PAYING, View.STATE_FAILED),
        paid,
        (precondition, "TRADE_NOT_PAYABLE", "trade.tongbao"),
        (missing, "TRADE_NOT_FOUND", "trade.tongbao"),
        (missing, "WALLET_NOT_FOUND", "trade.tongbao"),
        (code_pb2.INTERNAL, "INTERNAL", "tongbao"),
        paid,
    ]
    assert results[2].response.trade == first
    assert results[3].status.metadata["state"] == "PAID"
    assert results[6].status.metadata["error_id"]
    orders = [item.new_trade.order_no for item in (items[0], items[7])]
    assert [results[place].response.trade.order_no for place in (0, 7)] == orders


async def test_512_items_travel_together(world: World, shop: Shop):
    """They are paid, each once, in far fewer statements than items."""
    before = _rows(world, "add_trade")
    items = [shop.payment() for _ in range(512)]
    results = (await shop.stub.BatchPayTrades(pb.BatchPayTradesRequest(items=items))).results

    assert [result.response.trade.state for result in results] == [Trade.STATE_PAID] * 512
    assert len({result.response.trade.trade_no for result in results}) == 512
    wanted = [item.new_trade.order_no for item in items]
    assert [result.response.trade.order_no for result in results] == wanted
    flushes, rows = (
        now - then for now, then in zip(_rows(world, "add_trade"), before, strict=True)
    )
    assert rows == 512
    assert flushes <= 8


def _rows(world: World, statement: str) -> tuple[int, int]:
    """How often a statement ran, and over how many inputs in all."""
    sizes = world.trade.runtime.db.sizes().get(statement, {})
    return sum(sizes.values()), sum(size * times for size, times in sizes.items())


async def test_the_same_item_twice_in_one_call_is_done_once(world: World, shop: Shop):
    """The second is answered like a repetition."""
    item = shop.payment()
    results = (await shop.stub.BatchPayTrades(pb.BatchPayTradesRequest(items=[item] * 3))).results
    assert len({result.response.payment.payment_no for result in results}) == 1
    number = results[0].response.payment.payment_no
    assert [one.payment_no for one in world.payment.asked].count(number) == 1


async def test_a_malformed_item_is_answered_so_and_its_neighbours_go_on(shop: Shop):
    """Only a call without items, or with too many, is malformed as a whole."""
    good = shop.payment()
    items = [good, pb.PayTradeRequest(request_id=f"try-{serial()}")]
    request = pb.BatchPayTradesRequest(items=items)
    one, other = (await shop.stub.BatchPayTrades(request)).results
    assert one.response.trade.order_no == good.new_trade.order_no
    assert other.status.reason == "INVALID_FIELDS"
    assert "target" in other.status.message
    assert await reason(shop.stub.BatchPayTrades(pb.BatchPayTradesRequest())) == "INVALID_FIELDS"
    many = pb.BatchPayTradesRequest(items=[good] * 513)
    assert await reason(shop.stub.BatchPayTrades(many)) == "INVALID_FIELDS"


async def test_near_the_deadline_the_items_that_wait_are_processing(world: World, shop: Shop):
    """Those that are known are answered as they are."""

    def treated(item):
        if item.subject == "slow":
            return world.payment.is_silent(item)
        return world.payment.now(item, state=Payment.STATE_SUCCEEDED)

    world.payment.then(treated, treated)
    items = [shop.payment(shop.order(subject="slow")), shop.payment()]
    request = pb.BatchPayTradesRequest(items=items)
    results = (await shop.stub.BatchPayTrades(request, timeout=0.5)).results
    states = [result.response.payment.state for result in results]
    assert states == [View.STATE_PROCESSING, View.STATE_SUCCEEDED]
