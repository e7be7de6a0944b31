"""What is not known stays due and is asked for again by the same number."""

from __future__ import annotations

from datetime import timedelta

from tests.service.trade.neighbours import Payment, change
from tests.service.trade.neighbours import Refund as Told
from tests.service.trade.shop import COLLECT, QR, Refund, Shop, Trade, View, World, money
from tests.waiting import eventually
from trade.flow.apply_payment import apply_payment
from trade.model import INQUIRY, Tool
from trade.store import kept
from trade.store import refund as refunds
from trade.store import trade as trades

RUNGS = [timedelta(seconds=s) for s in (5, 10, 30, 60, 300, 900, 1800, 3600, 3600, 3600)]


def left(world: World, table: str, number: str) -> timedelta | None:
    """How long until somebody looks again."""
    key = f"{table}_no"
    sql = f"SELECT due_time - business_now() FROM {table} WHERE {key} = %(number)s"
    [(span,)] = world.trade.rows(sql, number=number)
    return span


def tries(world: World, table: str, number: str) -> int:
    [(count,)] = world.trade.rows(
        f"SELECT tries FROM {table} WHERE {table}_no = %(number)s", number=number
    )
    return count


async def silent_try(world: World, shop: Shop) -> Trade:
    """A trade whose try payment does not answer."""
    world.payment.then(world.payment.is_silent)
    answer = (await shop.pay(timeout=0.4)).message
    assert answer.payment.state == View.STATE_PROCESSING
    return answer.trade


async def test_a_silent_payment_is_processing_and_due_and_resume_finishes_it(fresh: World):
    """It is asked once more, with the same number and the same content."""
    shop = await fresh.shop()
    trade = await silent_try(fresh, shop)
    assert timedelta() < left(fresh, "trade", trade.trade_no) <= RUNGS[0]

    await fresh.trade.shift("5 seconds")

    async def paid():
        return (await shop.trade(trade)).trade.state == Trade.STATE_PAID

    await eventually(paid)
    first, second = fresh.payment.asked
    assert first.payment_no == second.payment_no == trade.payment_no
    for item in (first, second):
        item.ClearField("item_id")
        item.context.ClearField("deadline")
        item.context.ClearField("traceparent")
    assert first == second
    assert left(fresh, "trade", trade.trade_no) is None


async def test_a_silent_refund_is_processing_and_due_and_resume_finishes_it(fresh: World):
    """The amount stays counted all the time."""
    shop = await fresh.shop()
    trade = await shop.paid()
    fresh.payment.then(fresh.payment.is_silent)
    answer = (await shop.refund(trade, 300, timeout=0.4)).message
    refund = answer.refund
    assert refund.state == Refund.STATE_PROCESSING
    assert answer.trade.refunded_amount == money(300)
    assert timedelta() < left(fresh, "refund", refund.refund_no) <= RUNGS[0]

    await fresh.trade.shift("5 seconds")

    async def arrived():
        return (await shop.refund_now(refund)).state == Refund.STATE_SUCCEEDED

    await eventually(arrived)
    numbers = [item.refund_no for item in fresh.payment.asked_refunds]
    assert numbers == [refund.refund_no] * 2
    assert left(fresh, "refund", refund.refund_no) is None


async def test_a_payment_that_nobody_can_reach_is_due(fresh: World):
    """Payment is down: the answer is PROCESSING; when it is back the trade is paid."""
    shop = await fresh.shop()
    await fresh.neighbours.stop("payment")
    answer = (await shop.pay(timeout=0.5)).message
    assert answer.payment.state == View.STATE_PROCESSING
    assert left(fresh, "trade", answer.trade.trade_no) is not None

    await fresh.neighbours.start("payment")
    await fresh.trade.shift("5 seconds")

    async def paid():
        return (await shop.trade(answer.trade)).trade.state == Trade.STATE_PAID

    await eventually(paid)
    assert {item.payment_no for item in fresh.payment.asked} == {answer.payment.payment_no}


async def test_a_claim_whose_process_died_is_carried_out_by_another(fresh: World):
    """The claim is in the table, payment never heard of it."""
    shop = await fresh.shop()
    trade = await shop.create()
    seen = await kept.find_trade(fresh.desk.db, app_id=trade.app_id, trade_no=trade.trade_no)
    now = fresh.desk.clock.now()
    claim = trades.Claim(
        app_id=trade.app_id,
        trade_no=trade.trade_no,
        request_id="died",
        fingerprint=b"x",
        payment_no="20261122PY00000000000000ED",
        pay_tool=Tool.QR_PAYER,
        fee_minor=6,
        fee_policy=seen.fee_policy,
        due_time=now,
        update_time=now,
    )
    assert (await trades.claim_trade(fresh.desk.db, claim)).outcome == "done"

    async def paid():
        return (await shop.trade(trade)).trade.state == Trade.STATE_PAID

    await eventually(paid)
    assert [item.payment_no for item in fresh.payment.asked] == [claim.payment_no]


async def test_an_open_payment_is_asked_for_along_the_ladder(fresh: World):
    """5 s, 10 s, … hourly; while it is open nothing of the trade changes."""
    assert list(INQUIRY) == RUNGS[: len(INQUIRY)]
    shop = await fresh.shop()
    shop.collect = await fresh.product(shop, COLLECT, [QR], expiry_seconds=7 * 86_400)
    fresh.payment.then(fresh.payment.says(Payment.STATE_PROCESSING, qr_code="pay://1"))
    trade = (await shop.pay()).message.trade
    number = trade.trade_no
    for count, rung in enumerate(RUNGS):
        span = left(fresh, "trade", number)
        assert rung - timedelta(seconds=3) < span <= rung, count
        await fresh.trade.shift(f"{rung.total_seconds():.0f} seconds")
        await eventually(lambda: tries(fresh, "trade", number) > count)  # noqa: B023
    assert len(fresh.payment.asked) == 1 + len(RUNGS)
    assert (await shop.trade(trade)).trade == trade


async def test_an_open_refund_is_asked_for_along_the_ladder(fresh: World):
    """The same one."""
    shop = await fresh.shop()
    trade = await shop.paid()
    fresh.payment.then(fresh.payment.says(Told.STATE_PROCESSING))
    refund = (await shop.refund(trade, 1)).message.refund
    for count, rung in enumerate(RUNGS[:4]):
        span = left(fresh, "refund", refund.refund_no)
        assert rung - timedelta(seconds=3) < span <= rung, count
        await fresh.trade.shift(f"{rung.total_seconds():.0f} seconds")
        await eventually(lambda: tries(fresh, "refund", refund.refund_no) > count)  # noqa: B023
    assert await shop.refund_now(refund) == refund


async def test_a_look_that_comes_late_does_not_wake_what_is_over(fresh: World):
    """Putting off is for the try that was looked at, and only while it is open."""
    shop = await fresh.shop()
    db = fresh.desk.db
    fresh.payment.then(fresh.payment.says(Payment.STATE_PROCESSING))
    trade = (await shop.pay()).message.trade
    seen = await kept.find_trade(db, app_id=trade.app_id, trade_no=trade.trade_no)
    later = fresh.desk.clock.now() + timedelta(hours=1)
    payment = change(fresh.payment.payments[trade.payment_no], state=Payment.STATE_FAILED)
    await apply_payment(fresh.desk, payment)
    assert not await trades.put_off_trade(db, seen, due_time=later)
    fresh.payment.then(fresh.payment.says(Payment.STATE_PROCESSING))
    await shop.pay(trade)
    assert not await trades.put_off_trade(db, seen, due_time=later)
    assert left(fresh, "trade", trade.trade_no) < timedelta(minutes=1)

    paid = await shop.paid()
    refund = (await shop.refund(paid, 1)).message.refund
    over = await refunds.find_refund(db, app_id=trade.app_id, refund_no=refund.refund_no)
    assert not await refunds.put_off_refund(db, over, due_time=later)
