"""PayTrade: one try at a time, every answer of payment, refusals in order, repetitions."""

from __future__ import annotations

import asyncio

from tests.service.trade.neighbours import Payment, refusal
from tests.service.trade.shop import (
    BALANCE,
    KEEP,
    QR,
    RECHARGE,
    Shop,
    Trade,
    View,
    World,
    money,
    reason,
    serial,
)
from tests.waiting import eventually
from tongbao.trade.v1 import trade_service_pb2 as pb


def asked(world: World, trade: Trade) -> list:
    """What payment was asked for the trade."""
    return [item for item in world.payment.asked if item.trade_no == trade.trade_no]


async def test_a_new_order_is_written_and_paid_in_one_call(world: World, shop: Shop):
    """The trade is PAID, payment was told everything it needs."""
    order = shop.order(1250, user_no="u7")
    answer = (await shop.pay(order, tool=QR)).message
    trade, view = answer.trade, answer.payment

    assert (trade.state, trade.order_no) == (Trade.STATE_PAID, order.order_no)
    assert (view.state, view.tool) == (View.STATE_SUCCEEDED, QR)
    assert view.payment_no == trade.payment_no
    assert not view.HasField("action")
    [item] = asked(world, trade)
    assert item.payment_no == view.payment_no
    assert (item.context.app_id, item.context.trace_no) == (trade.app_id, trade.trace_no)
    assert (item.business_code, item.merchant_id) == (shop.code, shop.merchant_id)
    assert (item.amount, item.user_no, item.subject) == (money(1250), "u7", "tea")
    assert item.fee_minor == 8  # 0.6 % of 1250 is 7.5.
    assert (await shop.trade(trade)).trade == trade


async def test_a_trade_that_exists_is_paid(world: World, shop: Shop):
    """From the wallet of its user, by its number."""
    trade = await shop.create(shop.order(user_no="u1"))
    answer = (await shop.pay(trade, tool=BALANCE)).message
    assert answer.trade.state == Trade.STATE_PAID
    assert answer.payment.tool == BALANCE
    assert len(asked(world, trade)) == 1


async def test_the_fee_is_the_merchants_when_the_payment_begins(world: World, shop: Shop):
    """Least fee, amount, rate, and nothing for a recharge."""
    dear = await world.merchant(shop, rate_ppm=1_000_000, least_minor=5)
    least = await world.merchant(shop, rate_ppm=10, least_minor=50, policy=KEEP)
    orders = [
        (shop.order(999, merchant_id=dear), 999),
        (shop.order(999, merchant_id=least), 50),
        (shop.order(30, merchant_id=least), 30),
        (shop.top_up(999), 0),
    ]
    for order, fee_minor in orders:
        trade = (await shop.pay(order)).message.trade
        assert [item.fee_minor for item in asked(world, trade)] == [fee_minor]


async def test_a_code_to_scan_is_shown_while_the_payer_has_to_act(world: World, shop: Shop):
    """The trade is PAYING and names its open payment."""
    world.payment.then(world.payment.says(Payment.STATE_PROCESSING, qr_code="pay://1"))
    answer = (await shop.pay()).message

    assert answer.trade.state == Trade.STATE_PAYING
    assert answer.payment.state == View.STATE_PROCESSING
    assert answer.payment.action.qr_code == "pay://1"
    assert answer.trade.payment_no == answer.payment.payment_no
    assert (await shop.trade(answer.trade)).payment == answer.payment


async def test_a_payment_that_failed_leaves_the_trade_to_be_paid_again(world: World, shop: Shop):
    """The view says why; the trade has no payment; the next try has another number."""
    failed = Payment.STATE_FAILED
    world.payment.then(world.payment.says(failed, failure_reason="BALANCE_NOT_ENOUGH"))
    order = shop.order(user_no="u1")
    first = (await shop.pay(order, tool=BALANCE)).message

    assert first.trade.state == Trade.STATE_PAYING
    assert first.trade.payment_no == ""
    assert first.payment.state == View.STATE_FAILED
    assert first.payment.failure_reason == "BALANCE_NOT_ENOUGH"
    assert (await shop.trade(first.trade)).payment == first.payment

    second = (await shop.pay(first.trade, tool=QR)).message
    assert second.trade.state == Trade.STATE_PAID
    assert second.payment.payment_no != first.payment.payment_no
    assert second.payment.failure_reason == ""
    assert [item.tool for item in asked(world, first.trade)] == [BALANCE, QR]


async def test_a_payment_that_ended_without_money_leaves_it_too(world: World, shop: Shop):
    """CLOSED is as over as FAILED."""
    world.payment.then(world.payment.says(Payment.STATE_CLOSED))
    first = (await shop.pay()).message
    assert (first.trade.payment_no, first.payment.state) == ("", View.STATE_CLOSED)
    assert (await shop.pay(first.trade)).message.trade.state == Trade.STATE_PAID


async def test_a_payment_under_review_puts_its_trade_under_review(world: World, shop: Shop):
    """PAYING → REVIEW; it can be neither paid nor refunded."""
    world.payment.then(world.payment.says(Payment.STATE_REVIEW, failure_reason="AMOUNT_MISMATCH"))
    answer = (await shop.pay()).message

    assert answer.trade.state == Trade.STATE_REVIEW
    assert (answer.payment.state, answer.payment.failure_reason) == (View.STATE_REVIEW, "")
    assert await reason(shop.pay(answer.trade)) == "TRADE_NOT_PAYABLE"
    assert await reason(shop.refund(answer.trade, 1)) == "TRADE_NOT_REFUNDABLE"


async def test_a_recharge_is_paid_only_when_it_is_booked(world: World, shop: Shop):
    """Payment says SUCCEEDED; the trade stays PAYING and cannot be paid twice."""
    answer = (await shop.pay(shop.top_up())).message
    assert answer.trade.type == RECHARGE
    assert answer.trade.state == Trade.STATE_PAYING
    assert answer.payment.state == View.STATE_SUCCEEDED
    assert await reason(shop.pay(answer.trade)) == "PAYMENT_IN_PROGRESS"


async def test_what_payment_refuses_certainly_failed(world: World, shop: Shop):
    """A definite refusal of the item is a failed try."""
    world.payment.then(world.payment.refuses("INVALID_FIELDS"))
    answer = (await shop.pay()).message
    assert answer.payment.state == View.STATE_FAILED
    assert answer.payment.failure_reason == "INVALID_FIELDS"


async def test_a_number_with_other_content_at_payment_is_a_bug_and_not_a_failure(
    world: World, shop: Shop
):
    """Money may have moved under it: the try stays open."""
    world.payment.then(lambda _: refusal("REQUEST_REUSED", "tongbao"))
    order = shop.order()
    assert await reason(shop.pay(order)) == "INTERNAL"
    now = await shop.stub.GetTrade(pb.GetTradeRequest(order_no=order.order_no))
    assert now.payment.state == View.STATE_PROCESSING


async def test_near_the_deadline_the_answer_is_processing_and_the_work_goes_on(
    world: World, shop: Shop
):
    """The caller waits for half a second; what payment says later is applied."""
    gate = asyncio.Event()
    world.payment.then(world.payment.answers_when(gate, Payment.STATE_SUCCEEDED))
    answer = (await shop.pay(timeout=0.5)).message
    assert answer.trade.state == Trade.STATE_PAYING
    assert answer.payment.state == View.STATE_PROCESSING

    gate.set()

    async def paid():
        return (await shop.trade(answer.trade)).trade.state == Trade.STATE_PAID

    await eventually(paid)
    assert len(asked(world, answer.trade)) == 1


async def test_a_caller_that_hangs_up_does_not_stop_the_work(world: World, shop: Shop):
    """The claim was written, so it is carried out."""
    gate = asyncio.Event()
    world.payment.then(world.payment.answers_when(gate, Payment.STATE_SUCCEEDED))
    order = shop.order()
    call = shop.stub.PayTrade(shop.payment(order))
    await eventually(lambda: [one for one in world.payment.asked if one.subject == "tea"
                              and one.context.trace_no.endswith(order.order_no)])  # fmt: skip
    call.cancel()
    gate.set()

    async def paid():
        now = await shop.stub.GetTrade(pb.GetTradeRequest(order_no=order.order_no))
        return now.trade.state == Trade.STATE_PAID

    await eventually(paid)


async def test_a_payment_that_began_in_time_may_end_late(fresh: World):
    """Expiry ends beginnings, not payments."""
    shop = await fresh.shop()
    fresh.payment.then(fresh.payment.says(Payment.STATE_PROCESSING))
    answer = (await shop.pay()).message
    number = answer.payment.payment_no
    await fresh.trade.shift("31 minutes")
    payment = fresh.payment.payments[number]
    payment.state, payment.version = Payment.STATE_SUCCEEDED, 3

    async def paid():
        return (await shop.trade(answer.trade)).trade.state == Trade.STATE_PAID

    await eventually(paid)


async def test_a_repetition_asks_nobody_and_returns_the_trade_as_it_is(world: World, shop: Shop):
    """For a new order and for a trade; marked."""
    trade = await shop.create()
    for target in (shop.order(), trade):
        request_id = f"try-{serial()}"
        first = await shop.pay(target, request_id=request_id)
        again = await shop.pay(target, request_id=request_id)
        assert (first.replayed, again.replayed) == (False, True)
        assert again.message == first.message
        assert len(asked(world, first.message.trade)) == 1


async def test_a_repetition_of_an_earlier_try_still_says_that_it_failed(world: World, shop: Shop):
    """Its payment is not the trade's latest any more; the trade is as it is now."""
    world.payment.then(world.payment.says(Payment.STATE_FAILED, failure_reason="LIMIT_EXCEEDED"))
    request_id, order = f"try-{serial()}", shop.order()
    failed = (await shop.pay(order, request_id=request_id)).message
    paid = (await shop.pay(failed.trade)).message
    again = await shop.pay(order, request_id=request_id)

    assert again.replayed
    assert again.message.trade == paid.trade
    assert again.message.payment.payment_no == failed.payment.payment_no
    assert again.message.payment.state == View.STATE_FAILED
    assert again.message.payment.tool == QR


async def test_an_order_that_was_created_is_paid_inline(shop: Shop):
    """The order number decides as in CreateTrade: same content, same trade."""
    order = shop.order()
    created = await shop.create(order)
    paid = (await shop.pay(order)).message.trade
    assert (paid.trade_no, paid.state) == (created.trade_no, Trade.STATE_PAID)
