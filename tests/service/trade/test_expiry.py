"""What nobody pays until it expires is closed, and never without asking the channel."""

from __future__ import annotations

from datetime import timedelta

from tests.service.trade.neighbours import Payment, change
from tests.service.trade.receiver import Receiver
from tests.service.trade.shop import EXPIRY_SECONDS, Shop, Trade, World, money, reason
from tests.waiting import eventually
from tongbao.payment.v1.events_pb2 import PaymentFailed, PaymentReviewed
from tongbao.trade.v1.events_pb2 import TradeClosed

EXPIRED = f"{EXPIRY_SECONDS} seconds"


async def until(shop: Shop, trade: Trade, state: int) -> None:
    async def there():
        return (await shop.trade(trade)).trade.state == state

    await eventually(there)


def due(world: World, trade: Trade) -> tuple:
    """How long until somebody looks again, and how often somebody did."""
    sql = "SELECT due_time - business_now(), tries FROM trade WHERE trade_no = %(no)s"
    [row] = world.trade.rows(sql, no=trade.trade_no)
    return row


async def test_an_order_that_nobody_tried_to_pay_expires(fresh: World, receiver: Receiver):
    """Its due time is its expiry; then it is CLOSED, with event and webhook."""
    shop = await fresh.shop(webhook_url=receiver.url)
    trade = await shop.create()
    left, _ = due(fresh, trade)
    assert left > timedelta(seconds=EXPIRY_SECONDS - 60)

    await fresh.trade.shift(EXPIRED)

    await until(shop, trade, Trade.STATE_CLOSED)
    assert fresh.payment.asked_closes == []
    assert len(fresh.trade.published(TradeClosed)) == 1
    await eventually(lambda: receiver.came)
    assert receiver.came[0].content["type"] == "trade.closed"
    assert due(fresh, trade)[0] is None
    assert (await shop.close(trade)).replayed


async def test_an_order_whose_tries_have_failed_expires(fresh: World):
    """It may be paid again until then, and is looked at when it expires."""
    shop = await fresh.shop()
    fresh.payment.then(fresh.payment.says(Payment.STATE_FAILED))
    trade = (await shop.pay()).message.trade
    assert due(fresh, trade)[0] > timedelta(seconds=EXPIRY_SECONDS - 60)

    await fresh.trade.shift(EXPIRED)

    await until(shop, trade, Trade.STATE_CLOSED)


async def test_an_expired_order_is_never_closed_without_asking_the_channel(
    fresh: World, receiver: Receiver
):
    """Its open try is ended first; when the provider charges all the same, a person decides.

    While nobody knows it stays PAYING. No webhook ever says that it was paid.
    """
    shop = await fresh.shop(webhook_url=receiver.url)
    trade = await shop.waiting(fresh)
    fresh.payment.then(fresh.payment.says(Payment.STATE_PROCESSING))

    await fresh.trade.shift(EXPIRED)

    await eventually(lambda: due(fresh, trade)[1] == 1)
    assert (await shop.trade(trade)).trade.state == Trade.STATE_PAYING
    assert len(fresh.payment.asked_closes) == 1
    await fresh.trade.shift("10 seconds")
    await until(shop, trade, Trade.STATE_CLOSED)
    assert len(fresh.payment.asked_closes) == 2

    late = change(
        fresh.payment.payments[trade.payment_no],
        state=Payment.STATE_REVIEW,
        failure_reason="LATE_SUCCESS",
    )
    await fresh.tell("payment", PaymentReviewed(payment=late))
    assert (await shop.trade(trade)).trade.state == Trade.STATE_REVIEW
    assert fresh.trade.rows("SELECT type FROM webhook") == [("trade.closed",)]


async def test_an_expired_order_that_was_paid_in_time_is_paid(fresh: World):
    """The callback was lost: the close finds the money."""
    shop = await fresh.shop()
    trade = await shop.waiting(fresh)
    fresh.payment.then(fresh.payment.becomes(Payment.STATE_SUCCEEDED))
    await fresh.trade.shift(EXPIRED)
    await until(shop, trade, Trade.STATE_PAID)
    assert fresh.trade.published(TradeClosed) == []


async def test_a_payer_who_is_paying_when_it_expires_is_left_to_pay(fresh: World):
    """Asked again soon; nobody else may begin."""
    shop = await fresh.shop()
    trade = await shop.waiting(fresh)
    fresh.payment.then(fresh.payment.refuses("PAYER_IS_PAYING"))

    await fresh.trade.shift(EXPIRED)

    await eventually(lambda: due(fresh, trade)[1] == 1)
    left, _ = due(fresh, trade)
    assert timedelta() < left <= timedelta(seconds=10)
    assert await reason(shop.pay(trade)) == "TRADE_EXPIRED"
    await fresh.trade.shift("10 seconds")
    await until(shop, trade, Trade.STATE_CLOSED)


async def test_a_code_that_nobody_scans_is_not_asked_about_for_ever(fresh: World):
    """After the expiry nothing is due any more: not the trade, and no payment of it."""
    shop = await fresh.shop()
    trade = await shop.waiting(fresh)
    await fresh.trade.shift(EXPIRED)
    await until(shop, trade, Trade.STATE_CLOSED)
    asked = len(fresh.payment.asked), len(fresh.payment.asked_closes)

    await fresh.trade.shift("3 days")
    # What is due is taken in the order of its due time: whatever is due before this one is done.
    later = await shop.create()
    await fresh.trade.shift(EXPIRED)
    await until(shop, later, Trade.STATE_CLOSED)

    assert (len(fresh.payment.asked), len(fresh.payment.asked_closes)) == asked


async def test_an_event_of_payment_closes_what_is_wanted_closed_at_its_expiry(fresh: World):
    """Nobody answers the close; channel ends the leg on its own, and payment says so."""
    shop = await fresh.shop()
    trade = await shop.waiting(fresh)
    fresh.payment.then(fresh.payment.says(Payment.STATE_PROCESSING))
    await fresh.trade.shift(EXPIRED)
    await eventually(lambda: due(fresh, trade)[1] == 1)
    payment = change(fresh.payment.payments[trade.payment_no], state=Payment.STATE_CLOSED)
    await fresh.tell("payment", PaymentFailed(payment=payment))
    assert (await shop.trade(trade)).trade.state == Trade.STATE_CLOSED


async def test_a_recharge_that_waits_for_its_booking_does_not_expire(fresh: World):
    """It is paid; only the books are late."""
    shop = await fresh.shop()
    trade = (await shop.pay(shop.top_up())).message.trade
    await fresh.trade.shift(EXPIRED)
    await eventually(lambda: len(fresh.payment.asked) > 1)
    assert fresh.payment.asked_closes == []
    await fresh.book(trade)
    assert (await shop.trade(trade)).trade.state == Trade.STATE_PAID


async def test_what_was_paid_does_not_expire(fresh: World):
    """A paid order has no due time, and can be given back long after."""
    shop = await fresh.shop()
    trade = await shop.paid()
    await fresh.trade.shift(EXPIRED)
    assert due(fresh, trade)[0] is None
    refund = (await shop.refund(trade, 10)).message
    assert refund.trade.refunded_amount == money(10)


async def test_no_look_is_put_off_beyond_the_expiry(fresh: World):
    """The ladder would look again half an hour after it: it is looked at when it expires."""
    shop = await fresh.shop()
    trade = await shop.waiting(fresh)
    for count, rung in enumerate((5, 10, 30, 60, 300, 900)):
        await fresh.trade.shift(f"{rung} seconds")
        await eventually(lambda: due(fresh, trade)[1] > count)  # noqa: B023
    sql = "SELECT due_time = expire_time FROM trade WHERE trade_no = %(no)s"
    assert fresh.trade.rows(sql, no=trade.trade_no) == [(True,)]
