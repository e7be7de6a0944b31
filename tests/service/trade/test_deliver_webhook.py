"""Webhooks: the committed state, signed, along the ladder, to nowhere it may not go."""

from __future__ import annotations

from datetime import timedelta

from google.protobuf.json_format import MessageToDict

from mesh.clock import real_seconds
from tests.service.trade.neighbours import Payment
from tests.service.trade.neighbours import Refund as Told
from tests.service.trade.receiver import Receiver
from tests.service.trade.shop import World, running
from tests.services import Ground
from tests.waiting import eventually
from trade.webhook import LADDER

RUNGS = [
    timedelta(seconds=seconds)
    for seconds in (15, 15, 30, 180, 600, 1200, 1800, 1800, 1800, 3600, 10800, 10800, 10800,
                    21600, 21600)
]  # fmt: skip


async def deliveries(receiver: Receiver, count: int):
    """The first `count` deliveries, as soon as they are there."""
    await eventually(lambda: len(receiver.came) >= count)
    return receiver.came[:count]


def state_of(world: World, number: str) -> tuple:
    """State, tries and time left of the webhook about `number`."""
    sql = """SELECT state, tries, due_time - business_now() FROM webhook
             WHERE number = %(number)s"""
    [row] = world.trade.rows(sql, number=number)
    return row


async def test_a_paid_trade_is_told_as_it_was_committed(world: World, receiver: Receiver):
    """Id, type, time and data; signed with the secret that the app was told."""
    shop = await world.shop(webhook_url=receiver.url)
    trade = await shop.paid()
    [delivery] = await deliveries(receiver, 1)

    assert delivery.path == "/webhooks"
    assert delivery.id == f"{trade.trade_no}:{trade.version}"
    assert delivery.headers["content-type"] == "application/json"
    assert abs(int(delivery.headers["webhook-timestamp"]) - real_seconds()) < 30
    assert delivery.is_signed(shop.webhook_secret)
    content = MessageToDict(trade)
    assert delivery.content == {
        "id": delivery.id,
        "type": "trade.paid",
        "time": content["updateTime"],
        "data": content,
    }
    await eventually(lambda: state_of(world, trade.trade_no)[0] == "delivered")
    assert state_of(world, trade.trade_no) == ("delivered", 1, None)


async def test_the_signature_is_of_this_body_and_this_secret(world: World, receiver: Receiver):
    """One changed byte, another id or another app's secret do not pass the recipe."""
    shop, other = await world.shop(webhook_url=receiver.url), await world.shop()
    await shop.paid()
    [delivery] = await deliveries(receiver, 1)
    assert delivery.is_signed(shop.webhook_secret)
    assert not delivery.is_signed(other.webhook_secret)
    body = delivery.body
    delivery.body = body.replace(b"trade.paid", b"trade.paie")
    assert not delivery.is_signed(shop.webhook_secret)
    delivery.body = body
    delivery.headers["webhook-id"] += "0"
    assert not delivery.is_signed(shop.webhook_secret)


async def test_refunds_are_told_with_their_outcome(world: World, receiver: Receiver):
    """refund.succeeded and refund.failed, with the refund as data."""
    shop = await world.shop(webhook_url=receiver.url)
    trade = await shop.paid()
    arrived = (await shop.refund(trade, 10)).message.refund
    world.payment.then(world.payment.says(Told.STATE_FAILED, failure_reason="REFUND_UNFUNDED"))
    failed = (await shop.refund(trade, 20)).message.refund
    await deliveries(receiver, 3)
    told = {delivery.id: delivery for delivery in receiver.came}

    for refund, kind in ((arrived, "refund.succeeded"), (failed, "refund.failed")):
        delivery = told[f"{refund.refund_no}:{refund.version}"]
        assert delivery.content["type"] == kind
        assert delivery.content["data"] == MessageToDict(refund)
        assert delivery.is_signed(shop.webhook_secret)


async def test_what_comes_later_does_not_change_what_is_told(fresh: World, receiver: Receiver):
    """The trade is refunded before its webhook gets through: the bytes stay those of then."""
    receiver.then(500)
    shop = await fresh.shop(webhook_url=receiver.url)
    trade = await shop.paid()
    [first] = await deliveries(receiver, 1)
    await eventually(lambda: state_of(fresh, trade.trade_no)[1] == 1)
    await shop.refund(trade, 10)
    await fresh.trade.shift("15 seconds")
    await eventually(lambda: state_of(fresh, trade.trade_no)[0] == "delivered")
    [again] = [one for one in receiver.came[1:] if one.id == first.id]
    assert again.body == first.body
    assert again.content["data"] == MessageToDict(trade)
    assert again.is_signed(shop.webhook_secret)


async def test_apps_without_a_url_and_moves_without_news_are_not_told(
    fresh: World, receiver: Receiver
):
    """A failed payment, a trade under review, an app that has nowhere to get it."""
    mute, shop = await fresh.shop(), await fresh.shop(webhook_url=receiver.url)
    await mute.refund(await mute.paid(), 1)
    fresh.payment.then(fresh.payment.says(Payment.STATE_FAILED))
    await shop.pay()
    fresh.payment.then(fresh.payment.says(Payment.STATE_REVIEW))
    await shop.pay()
    assert fresh.trade.rows("SELECT count(*) FROM webhook") == [(0,)]


async def test_a_receiver_that_fails_is_tried_along_the_ladder_until_it_is_exhausted(
    fresh: World, receiver: Receiver
):
    """Sixteen tries, each logged; then nobody tries again."""
    assert list(LADDER) == RUNGS
    receiver.then(*[503] * 16)
    shop = await fresh.shop(webhook_url=receiver.url)
    trade = await shop.paid()
    number = trade.trade_no
    for count, rung in enumerate(RUNGS, 1):
        await eventually(lambda: state_of(fresh, number)[1] == count)  # noqa: B023
        state, _, left = state_of(fresh, number)
        assert state == "pending"
        assert rung - timedelta(seconds=3) < left <= rung, count
        assert len(receiver.came) == count
        await fresh.trade.shift(f"{rung.total_seconds():.0f} seconds")
    await eventually(lambda: state_of(fresh, number)[0] == "exhausted")
    assert state_of(fresh, number) == ("exhausted", 16, None)
    assert len({(one.id, one.body) for one in receiver.came}) == 1
    logged = "SELECT try_no, status FROM webhook_attempt ORDER BY attempt_id"
    assert fresh.trade.rows(logged) == [(count, 503) for count in range(1, 17)]


async def test_a_receiver_that_recovers_gets_it_once_more_and_no_more(
    fresh: World, receiver: Receiver
):
    """Failing, then fine."""
    receiver.then(500, 404)
    shop = await fresh.shop(webhook_url=receiver.url)
    trade = await shop.paid()
    for count in (1, 2):
        await eventually(lambda: state_of(fresh, trade.trade_no)[1] == count)  # noqa: B023
        await fresh.trade.shift("15 seconds")
    await eventually(lambda: state_of(fresh, trade.trade_no)[0] == "delivered")
    await fresh.trade.shift("2 days")
    await shop.paid()  # Whatever was due before this is delivered before it.
    await deliveries(receiver, 4)
    assert [one.id for one in receiver.came].count(f"{trade.trade_no}:{trade.version}") == 3


async def test_a_receiver_that_is_away_is_tried_again(fresh: World):
    """No connection: the attempt says so, without a status."""
    async with Receiver() as gone:
        url = gone.url
    shop = await fresh.shop(webhook_url=url)
    trade = await shop.paid()
    await eventually(lambda: state_of(fresh, trade.trade_no)[1] == 1)
    [(status, problem)] = fresh.trade.rows("SELECT status, problem FROM webhook_attempt")
    assert status == 0
    assert "Cannot connect" in problem


async def test_a_redirect_is_not_followed(fresh: World, receiver: Receiver):
    """It is a failed try like any other answer that is not 2xx."""
    receiver.then(302)
    shop = await fresh.shop(webhook_url=receiver.url)
    trade = await shop.paid()
    await eventually(lambda: state_of(fresh, trade.trade_no)[1] == 1)
    assert fresh.trade.rows("SELECT status FROM webhook_attempt") == [(302,)]
    assert [one.path for one in receiver.came] == ["/webhooks"]
    assert state_of(fresh, trade.trade_no)[0] == "pending"


async def test_any_2xx_is_taken(fresh: World, receiver: Receiver):
    """204 as well as 200."""
    receiver.then(204)
    shop = await fresh.shop(webhook_url=receiver.url)
    trade = await shop.paid()
    await eventually(lambda: state_of(fresh, trade.trade_no)[0] == "delivered")


async def test_a_recharge_is_told_when_it_is_booked(world: World, receiver: Receiver):
    """Not when the payer was charged."""
    shop = await world.shop(webhook_url=receiver.url)
    trade = (await shop.pay(shop.top_up())).message.trade
    await world.book(trade)
    [delivery] = await deliveries(receiver, 1)
    assert delivery.content["type"] == "trade.paid"
    assert delivery.content["data"]["state"] == "STATE_PAID"
    assert len(receiver.came) == 1


async def test_a_private_address_is_refused_at_delivery_too(ground: Ground, receiver: Receiver):
    """Apps that were admitted when it was allowed, by address and by name: nothing arrives."""
    urls = (receiver.url, receiver.url.replace("127.0.0.1", "localhost"))
    async with running(ground, egress_allow_private=True) as world:
        shops = [await world.shop(webhook_url=url) for url in urls]
    async with running(ground, egress_allow_private=False) as world:
        for shop in shops:
            trade = await shop.at(world.trade).paid()
            await eventually(lambda: state_of(world, trade.trade_no)[1] == 1)  # noqa: B023
        attempts = world.trade.rows("SELECT status, problem FROM webhook_attempt")
    assert len(attempts) == 2
    for status, problem in attempts:
        assert status == 0
        assert "its address is not public" in problem
    assert receiver.came == []
