"""StreamCreateTrades and its siblings: answered as they end, bounded, drained, for one token."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from mesh import tokens
from tests.service.trade.neighbours import Payment
from tests.service.trade.shop import Shop, Trade, View, World, running
from tests.services import Ground, info_of
from tests.waiting import eventually
from tongbao.trade.v1 import trade_service_pb2 as pb
from tongbao.trade.v1.trade_service_pb2_grpc import TradeServiceStub


class Stream:
    """One open stream: what was answered, by item, and whether it was asked to end."""

    def __init__(self, method, request, item) -> None:
        self._request, self._item = request, item
        self.call = method()
        self.answers, self.order, self.is_draining, self.error = {}, [], False, None
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            async for pack in self.call:
                self.is_draining = self.is_draining or not pack.results
                for result in pack.results:
                    assert result.item_id not in self.answers, "answered twice"
                    self.answers[result.item_id] = result
                    self.order.append(result.item_id)
        except grpc.aio.AioRpcError as error:
            self.error = error

    async def send(self, **requests) -> None:
        """Write one pack: item ids and their requests."""
        items = [self._item(item_id=name, request=one) for name, one in requests.items()]
        await self.call.write(self._request(items=items))

    async def answered(self, *names: str) -> None:
        await eventually(lambda: set(names) <= set(self.answers))

    async def end(self) -> None:
        await self.call.done_writing()
        await self.ended()

    async def ended(self) -> None:
        async with asyncio.timeout(20):
            await self.task


def paying(stub: TradeServiceStub) -> Stream:
    return Stream(stub.StreamPayTrades, pb.StreamPayTradesRequest, pb.PayTradeItem)


def getting(stub: TradeServiceStub) -> Stream:
    return Stream(stub.StreamGetTrades, pb.StreamGetTradesRequest, pb.GetTradeItem)


async def test_every_verb_has_a_stream(shop: Shop):
    """Create, pay, read and give back, each item answered by its id."""
    order = shop.order()
    stream = Stream(shop.stub.StreamCreateTrades, pb.StreamCreateTradesRequest, pb.CreateTradeItem)
    await stream.send(a=pb.CreateTradeRequest(trade=order))
    await stream.answered("a")
    trade = stream.answers["a"].response.trade
    assert (trade.order_no, trade.state) == (order.order_no, Trade.STATE_CREATED)
    await stream.send(b=pb.CreateTradeRequest(trade=order))
    await stream.end()
    assert stream.answers["b"].replayed
    assert not stream.answers["a"].replayed

    stream = paying(shop.stub)
    await stream.send(p=shop.payment(trade))
    await stream.end()
    assert stream.answers["p"].response.payment.state == View.STATE_SUCCEEDED

    stream = Stream(
        shop.stub.StreamCreateRefunds, pb.StreamCreateRefundsRequest, pb.CreateRefundItem
    )
    await stream.send(r=shop.giving_back(trade, 10), s=shop.giving_back(trade, 5000))
    await stream.end()
    assert stream.answers["r"].response.refund.amount.minor_units == 10
    assert stream.answers["s"].status.reason == "REFUND_EXCEEDS_TRADE"

    stream = getting(shop.stub)
    await stream.send(g=pb.GetTradeRequest(trade_no=trade.trade_no))
    await stream.end()
    assert stream.answers["g"].response.trade.refunded_amount.minor_units == 10
    assert stream.error is None


async def test_items_are_answered_as_they_end(world: World, shop: Shop):
    """One that waits for its provider holds up nobody."""
    gate = asyncio.Event()
    world.payment.then(world.payment.answers_when(gate, Payment.STATE_SUCCEEDED))
    stream = paying(shop.stub)
    await stream.send(slow=shop.payment())
    await eventually(lambda: not world.payment._script)
    await stream.send(
        quick=shop.payment(), broken=pb.PayTradeRequest(), lost=shop.payment("0" * 26)
    )
    await stream.answered("quick", "broken", "lost")
    assert "slow" not in stream.answers
    assert stream.answers["broken"].status.reason == "INVALID_FIELDS"
    assert stream.answers["lost"].status.reason == "TRADE_NOT_FOUND"
    gate.set()
    await stream.end()
    assert stream.answers["slow"].response.trade.state == Trade.STATE_PAID
    assert stream.error is None


async def test_a_stream_is_its_apps_own(world: World, shop: Shop):
    """What another app owns is not there, on the same connection's token only."""
    other = await (await world.shop()).create()
    mine = await shop.create()
    stream = getting(shop.stub)
    await stream.send(
        mine=pb.GetTradeRequest(trade_no=mine.trade_no),
        other=pb.GetTradeRequest(trade_no=other.trade_no),
    )
    await stream.end()
    assert stream.answers["mine"].response.trade == mine
    assert stream.answers["other"].status.reason == "TRADE_NOT_FOUND"


async def test_only_so_many_items_are_in_work_and_the_rest_waits(fresh: World):
    """600 that hang: 512 reach payment; when they are answered the others follow."""
    shop = await fresh.shop()
    gate = asyncio.Event()
    fresh.payment.then(*[fresh.payment.answers_when(gate, Payment.STATE_SUCCEEDED)] * 600)
    stream = paying(shop.stub)
    for pack in range(6):
        await stream.send(**{f"i{pack}-{place}": shop.payment() for place in range(100)})
    try:
        await eventually(lambda: len(fresh.payment.asked) >= 512)
        claims = fresh.trade.rows("SELECT count(*) FROM pay_key")
        assert claims == [(512,)], "what waits is not begun"
        assert len(fresh.payment.asked) == 512
    finally:
        gate.set()
    await stream.end()
    assert len(stream.answers) == 600
    assert stream.error is None


async def test_a_drained_stream_says_so_and_answers_what_it_has(ground: Ground):
    """An empty pack, then the answer of what was begun, then the end."""
    async with running(ground) as world:
        shop = await world.shop()
        gate = asyncio.Event()
        world.payment.then(world.payment.answers_when(gate, Payment.STATE_SUCCEEDED))
        stream = paying(shop.stub)
        await stream.send(slow=shop.payment())
        await eventually(lambda: world.payment.asked)
        world.trade.runtime.crew.drain()
        await eventually(lambda: stream.is_draining)
        assert not stream.answers
        gate.set()
        await stream.end()
        assert stream.answers["slow"].response.trade.state == Trade.STATE_PAID
        assert stream.error is None


async def test_a_stream_ends_with_its_token_and_answers_what_was_begun(fresh: World, monkeypatch):
    """Nothing that was begun is left without an answer; the caller did not end its side."""
    monkeypatch.setattr(tokens, "LOOK_SECONDS", 0.1)
    shop = await fresh.shop()
    gate = asyncio.Event()
    fresh.payment.then(fresh.payment.answers_when(gate, Payment.STATE_SUCCEEDED))
    stream = paying(shop.stub)
    await stream.send(slow=shop.payment())
    await eventually(lambda: fresh.payment.asked)
    number = fresh.payment.asked[0].trade_no
    watch = shop.stub.WatchTrade(pb.WatchTradeRequest(trade_no=number))
    await watch.read()

    now = tokens.real_seconds()  # Its time is over, and it would not be let in again.
    monkeypatch.setattr(tokens, "real_seconds", lambda: now + 2 * tokens.LIFE_SECONDS)
    monkeypatch.setattr(tokens, "LIFE_SECONDS_MAX", 10)
    with pytest.raises(grpc.aio.AioRpcError) as watched:
        await watch.read()
    assert info_of(watched.value).reason == "TOKEN_EXPIRED"
    assert not stream.task.done(), "what was begun is waited for"
    gate.set()
    await stream.ended()
    assert stream.error.code() is grpc.StatusCode.UNAUTHENTICATED
    assert info_of(stream.error).reason == "TOKEN_EXPIRED"
    assert stream.answers["slow"].response.trade.state == Trade.STATE_PAID


async def test_a_broken_pack_ends_the_stream(shop: Shop):
    """Bytes that are no pack; an item without an id is that item's own fault."""
    stream = paying(shop.stub)
    await stream.call.write(pb.StreamPayTradesRequest(items=[pb.PayTradeItem()]))
    await eventually(lambda: stream.answers)
    assert stream.answers[""].status.reason == "INVALID_FIELDS"
    await stream.end()
    assert stream.error is None


async def test_a_pack_has_no_more_items_than_a_batch(shop: Shop):
    """It ends the stream as a broken one does; what came before is answered."""
    stream = getting(shop.stub)
    await stream.send(known=pb.GetTradeRequest(order_no="nobody"))
    await stream.answered("known")
    await stream.send(**{f"i{n}": pb.GetTradeRequest(order_no="nobody") for n in range(513)})
    await stream.ended()
    assert stream.error is not None
    assert stream.error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert set(stream.answers) == {"known"}


async def test_a_stream_is_slowed_down_where_calls_are_refused(ground: Ground):
    """32 items where ten may come at a stroke: all are answered, none refused."""
    async with running(ground, app_per_second=20, app_burst=10) as world:
        shop = await world.shop()
        trade = await shop.create()
        stream = getting(shop.stub)
        ask = pb.GetTradeRequest(trade_no=trade.trade_no)
        for pack in range(4):
            await stream.send(**{f"i{pack}-{place}": ask for place in range(8)})
        await stream.end()
        assert stream.error is None
        assert len(stream.answers) == 32
        assert {one.response.trade.trade_no for one in stream.answers.values()} == {trade.trade_no}
