"""WatchTrade: now, then every newer state until it is settled, over replicas and restarts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import grpc
import pytest

from mesh.batch import NotExecuted
from tests.service.trade.neighbours import Payment
from tests.service.trade.shop import (
    Shop,
    Trade,
    View,
    World,
    pay_at,
    reason,
    running,
)
from tests.services import Ground, info_of
from tests.waiting import eventually
from tongbao.payment.v1.events_pb2 import PaymentFailed, PaymentReviewed, PaymentSucceeded
from tongbao.trade.v1 import trade_service_pb2 as pb
from trade import watchers
from trade.store import kept
from trade.watchers import Watchers


class Seen:
    """What one watch has brought so far, and how it ended."""

    def __init__(self, call) -> None:
        self.call, self.news, self.error = call, [], None
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            async for answer in self.call:
                self.news.append(answer)
        except grpc.aio.AioRpcError as error:
            self.error = error

    @property
    def states(self) -> list[int]:
        return [one.trade.state for one in self.news]

    @property
    def versions(self) -> list[int]:
        return [one.trade.version for one in self.news]

    async def ended(self) -> None:
        async with asyncio.timeout(20):
            await self.task


def watch(shop: Shop, trade: Trade, *, after: int = 0, **options) -> Seen:
    request = pb.WatchTradeRequest(trade_no=trade.trade_no, after_version=after)
    return Seen(shop.stub.WatchTrade(request, **options))


@pytest.fixture
async def unpolled(ground: Ground, monkeypatch) -> AsyncIterator[World]:
    """A service that reads only what it was woken for."""
    monkeypatch.setattr(watchers, "POLL_SECONDS", 3600.0)
    async with running(ground) as world:
        yield world


async def test_a_watch_shows_the_trade_now_and_then_as_it_changes(world: World, shop: Shop):
    """CREATED, PAYING with the code to show, PAID; then it ends well."""
    trade = await shop.create()
    seen = watch(shop, trade)
    await eventually(lambda: seen.states == [Trade.STATE_CREATED])
    assert not seen.news[0].HasField("payment")

    world.payment.then(world.payment.says(Payment.STATE_PROCESSING, qr_code="tongbao://pay"))
    number = (await shop.pay(trade)).message.payment.payment_no
    await eventually(lambda: seen.news[-1].payment.action.qr_code == "tongbao://pay")
    assert seen.news[-1].trade.state == Trade.STATE_PAYING
    paid = world.payment.payments[number]
    paid.state, paid.version = Payment.STATE_SUCCEEDED, paid.version + 1
    await world.tell("payment", PaymentSucceeded(payment=paid))
    await seen.ended()

    assert seen.error is None
    assert seen.states[-1] == Trade.STATE_PAID
    assert seen.news[-1].payment.state == View.STATE_SUCCEEDED
    assert seen.versions == sorted(set(seen.versions)), "never the same twice, never back"


async def test_what_is_known_is_not_sent_again(world: World, shop: Shop):
    """after_version of the present: the next is the first; of a settled trade: none at all."""
    trade = await shop.create()
    seen = watch(shop, trade, after=trade.version)
    await shop.pay(trade)
    await seen.ended()
    assert seen.versions[0] > trade.version
    assert seen.states[-1] == Trade.STATE_PAID

    again = watch(shop, trade, after=seen.versions[-1])
    await again.ended()
    assert (again.news, again.error) == ([], None)
    late = watch(shop, trade)
    await late.ended()
    assert late.states == [Trade.STATE_PAID]


async def test_a_trade_under_review_is_watched_on(world: World, shop: Shop):
    """A person still decides; a closed one is settled."""
    world.payment.then(world.payment.says(Payment.STATE_PROCESSING))
    paying = (await shop.pay()).message
    seen = watch(shop, paying.trade)
    doubt = world.payment.payments[paying.payment.payment_no]
    doubt.state, doubt.version = Payment.STATE_REVIEW, doubt.version + 1
    await world.tell("payment", PaymentReviewed(payment=doubt))
    await eventually(lambda: seen.states[-1:] == [Trade.STATE_REVIEW])
    assert not seen.task.done()
    world.trade.rows(
        "UPDATE trade SET state = 'closed', version = version + 1 WHERE trade_no = %(no)s",
        no=paying.trade.trade_no,
    )
    await seen.ended()
    assert (seen.states[-1], seen.error) == (Trade.STATE_CLOSED, None)


async def test_a_watch_is_by_either_number_and_of_ones_own_trades_only(world: World, shop: Shop):
    """Another app's trade does not exist."""
    trade = await shop.paid()
    mine = Seen(shop.stub.WatchTrade(pb.WatchTradeRequest(order_no=trade.order_no)))
    await mine.ended()
    assert [one.trade for one in mine.news] == [trade]
    other = await world.shop()
    for request in (
        pb.WatchTradeRequest(trade_no=trade.trade_no),
        pb.WatchTradeRequest(order_no=trade.order_no),
    ):
        assert await reason(other.stub.WatchTrade(request).read()) == "TRADE_NOT_FOUND"
    assert await reason(shop.stub.WatchTrade(pb.WatchTradeRequest()).read()) == "INVALID_FIELDS"


async def test_what_this_process_writes_is_told_without_a_poll_or_an_event(unpolled: World):
    """A code to show has no event; a failed try neither."""
    shop = await unpolled.shop()
    trade = await shop.create()
    seen = watch(shop, trade)
    await eventually(lambda: seen.states == [Trade.STATE_CREATED])
    unpolled.payment.then(unpolled.payment.says(Payment.STATE_PROCESSING, qr_code="code"))
    number = (await shop.pay(trade)).message.payment.payment_no
    await eventually(lambda: seen.news[-1].payment.action.qr_code == "code")
    failed = unpolled.payment.payments[number]
    failed.state, failed.version = Payment.STATE_FAILED, failed.version + 1
    await unpolled.tell("payment", PaymentFailed(payment=failed))
    await eventually(lambda: seen.news[-1].payment.state == View.STATE_FAILED)
    assert not seen.task.done()


async def test_what_another_replica_writes_is_heard_without_a_poll(unpolled: World):
    """By the service's own subject."""
    shop = await unpolled.shop()
    trade = await shop.create()
    seen = watch(shop, trade)
    await eventually(lambda: seen.states == [Trade.STATE_CREATED])
    [other] = await unpolled.replicas(1)
    await pay_at(other, shop, shop.payment(trade))
    await seen.ended()
    assert (seen.states[-1], seen.error) == (Trade.STATE_PAID, None)


async def test_what_no_event_tells_of_is_found_by_the_poll(fresh: World):
    """A claim of another replica."""
    shop = await fresh.shop()
    trade = await shop.create()
    seen = watch(shop, trade)
    await eventually(lambda: seen.states == [Trade.STATE_CREATED])
    [other] = await fresh.replicas(1)
    fresh.payment.then(fresh.payment.is_silent)
    await pay_at(other, shop, shop.payment(trade), seconds=0.5)
    await eventually(lambda: seen.states[-1] == Trade.STATE_PAYING)


async def test_many_watches_are_read_by_one_statement(fresh: World, monkeypatch):
    """Sixty trades of three apps; every one is told."""
    looks = []

    async def counted(db, seen):
        looks.append(len(seen))
        return await kept.find_newer(db, seen)

    shops = [await fresh.shop() for _ in range(3)]
    trades = [(shop, await shop.create()) for shop in shops for _ in range(20)]
    watches = [watch(shop, trade) for shop, trade in trades]
    await eventually(lambda: all(seen.news for seen in watches))
    monkeypatch.setattr(watchers, "find_newer", counted)
    await eventually(lambda: len(looks) >= 3)
    assert set(looks) == {60}
    fresh.trade.rows("UPDATE trade SET state = 'closed', version = version + 1")
    for seen in watches:
        await seen.ended()
    assert [seen.states for seen in watches] == [[Trade.STATE_CREATED, Trade.STATE_CLOSED]] * 60


async def test_a_drained_service_ends_the_watch_and_the_next_goes_on(ground: Ground):
    """UNAVAILABLE, to be opened again; nothing between the two is missed."""
    async with running(ground) as world:
        shop = await world.shop()
        trade = await shop.create()
        seen = watch(shop, trade)
        await eventually(lambda: seen.versions)
        world.trade.runtime.crew.drain()  # What SIGTERM does first.
        await seen.ended()
    assert seen.error.code() is grpc.StatusCode.UNAVAILABLE
    assert info_of(seen.error).reason == "STREAM_ENDED"

    async with running(ground) as world:
        there = shop.at(world.trade)
        await there.pay(trade)
        on = watch(there, trade, after=seen.versions[-1])
        await on.ended()
    assert on.states == [Trade.STATE_PAID]


async def test_an_app_has_only_so_many_watches_open(ground: Ground):
    """One more is refused, also when the trade does not exist; a closed one makes room."""
    async with running(ground, app_streams=2) as world:
        shop, other = await world.shop(), await world.shop()
        trade = await shop.create()
        watches = [watch(shop, trade) for _ in range(2)]
        await eventually(lambda: all(seen.news for seen in watches))
        third = watch(shop, trade)
        await third.ended()
        assert third.error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert info_of(third.error).reason == "TOO_MANY_IN_FLIGHT"
        free = watch(other, await other.create())
        await eventually(lambda: free.news)
        watches[0].call.cancel()

        async def opens() -> bool:
            again = watch(shop, trade)
            await eventually(lambda: again.news or again.error)
            return bool(again.news)

        await eventually(opens)


async def test_whoever_joins_late_and_read_early_is_told_too(fresh: World):
    """It read the trade, the news came and was told to the others, then it joined."""
    shop = await fresh.shop()
    made = await shop.create()
    old = await kept.find_trade(fresh.desk.db, app_id=made.app_id, trade_no=made.trade_no)
    new = replace(old, version=old.version + 1, expire_time=old.expire_time + timedelta(1))
    hub = Watchers(fresh.desk.db, "")
    task = asyncio.create_task(hub.run())
    with hub.watching(old) as first:
        fresh.trade.rows("UPDATE trade SET version = version + 1")
        hub.saw(new)
        assert await first.newer(old.version) is new
        with hub.watching(old) as second:
            async with asyncio.timeout(20):
                assert (await second.newer(old.version)).version == new.version
        hub.saw(old)
        assert await first.newer(old.version) is new, "never back"
    hub.saw(new)  # Nobody is left; nothing is kept.
    assert not hub._watched
    task.cancel()


async def test_a_database_that_is_away_is_asked_again(fresh: World, monkeypatch):
    """The watch stays open."""
    shop = await fresh.shop()
    trade = await shop.create()
    seen = watch(shop, trade)
    await eventually(lambda: seen.news)
    fell = asyncio.Event()

    async def away(db, seen):
        fell.set()
        raise NotExecuted("away")

    with monkeypatch.context() as patch:
        patch.setattr(watchers, "find_newer", away)
        await fell.wait()
    fresh.trade.rows("UPDATE trade SET state = 'closed', version = version + 1")
    await seen.ended()
    assert seen.states[-1] == Trade.STATE_CLOSED
