"""CloseTrade: never before its open try has ended, once, and for good."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from mesh.errors import Refused
from tests.service.trade.neighbours import Payment, change
from tests.service.trade.receiver import Receiver
from tests.service.trade.shop import (
    Shop,
    Trade,
    View,
    World,
    calling,
    holding,
    pay_at,
    reason,
    refused,
    together,
)
from tests.waiting import eventually
from tongbao.payment.v1.events_pb2 import PaymentFailed, PaymentReviewed, PaymentSucceeded
from tongbao.trade.v1 import trade_service_pb2 as pb
from tongbao.trade.v1.events_pb2 import TradeClosed, TradePaid, TradeReviewed
from trade.flow.close_trade import close_trade
from trade.states import TradeState

ROW = "SELECT 1 FROM trade WHERE trade_no = %(no)s FOR UPDATE"


def wish(world: World, trade: Trade) -> tuple:
    """Whether it is wanted closed, and whether somebody looks again."""
    sql = "SELECT closing, due_time IS NOT NULL FROM trade WHERE trade_no = %(no)s"
    [row] = world.trade.rows(sql, no=trade.trade_no)
    return row


async def closed_at(desk, shop: Shop, trade: Trade):
    """CloseTrade at one replica."""
    with calling(shop):
        return await close_trade(desk, trade_no=trade.trade_no)


# What nobody tries to pay.


async def test_a_trade_that_nobody_tried_is_closed_at_once(world: World, shop: Shop):
    """Nobody is asked; nobody can begin to pay it; closing it again returns it."""
    trade = await shop.create()
    asked = len(world.payment.asked_closes)

    answer = await shop.close(trade)

    assert answer.message.trade.state == Trade.STATE_CLOSED
    assert not answer.message.HasField("payment")
    assert not answer.replayed
    assert len(world.payment.asked_closes) == asked
    assert await refused(shop.pay(trade)) == (
        "TRADE_NOT_PAYABLE",
        {"trade_no": trade.trade_no, "state": "CLOSED"},
    )
    again = await shop.close(trade)
    assert (again.message, again.replayed) == (answer.message, True)
    assert wish(world, trade) == (False, False)


async def test_it_is_closed_by_its_order_number(shop: Shop):
    """The caller's number does as well."""
    trade = await shop.create()
    request = pb.CloseTradeRequest(order_no=trade.order_no)
    assert (await shop.stub.CloseTrade(request)).trade.state == Trade.STATE_CLOSED


async def test_a_trade_whose_try_has_failed_is_closed_at_once(world: World, shop: Shop):
    """The try is proven unpaid, so nobody has to be asked."""
    world.payment.then(world.payment.says(Payment.STATE_FAILED))
    trade = (await shop.pay()).message.trade
    asked = len(world.payment.asked_closes)

    assert (await shop.close(trade)).message.trade.state == Trade.STATE_CLOSED
    assert len(world.payment.asked_closes) == asked


async def test_paying_and_closing_at_once_have_one_winner(fresh: World):
    """Both wait for the row; whoever is first has it, the other is told, nobody pays a closed one.

    Twice, each of the two first once: PostgreSQL serves those who wait in their order.
    """
    shop = await fresh.shop()
    one, other = await fresh.replicas(2)
    for is_pay_first in (True, False):
        trade = await shop.create()
        paying = len(fresh.payment.asked)
        gate = asyncio.Event()
        fresh.payment.then(fresh.payment.answers_when(gate, Payment.STATE_SUCCEEDED))
        async with holding(fresh, ROW, no=trade.trade_no):
            calls = [pay_at(one, shop, shop.payment(trade)), closed_at(other, shop, trade)]
            tasks = []
            for call in calls if is_pay_first else reversed(calls):
                tasks.append(asyncio.create_task(call))
                await fresh.trade.blocked(len(tasks))
        if is_pay_first:
            await eventually(lambda: len(fresh.payment.asked_closes) == 1)
            gate.set()
        else:
            gate.set()
            fresh.payment.forget()
        settled = await together(*tasks)
        refusals = [(error.reason, error.facts["state"]) for error in settled
                    if isinstance(error, Refused)]  # fmt: skip
        if is_pay_first:
            assert len(fresh.payment.asked) == paying + 1
            assert [item.payment.payment_no for item in fresh.payment.asked_closes] == [
                fresh.payment.asked[-1].payment_no
            ]
        else:
            assert refusals == [("TRADE_NOT_PAYABLE", "CLOSED")]
            assert len(fresh.payment.asked) == paying


# What somebody tries to pay.


async def test_an_open_try_is_ended_first(fresh: World, receiver: Receiver):
    """Payment is asked, by the very content it was asked to pay; then event and webhook."""
    shop = await fresh.shop(webhook_url=receiver.url)
    trade = await shop.waiting(fresh)

    answer = (await shop.close(trade)).message

    assert answer.trade.state == Trade.STATE_CLOSED
    assert answer.payment.state == View.STATE_CLOSED
    assert not answer.payment.HasField("action")
    [closed], [asked] = fresh.payment.asked_closes, fresh.payment.asked
    for item in (closed.payment, asked):
        item.ClearField("item_id")
        item.ClearField("context")
    assert closed.payment == asked
    [told] = fresh.trade.published(TradeClosed)
    assert told.trade == answer.trade
    await eventually(lambda: receiver.came)
    [delivery] = receiver.came
    assert delivery.content["type"] == "trade.closed"
    assert delivery.content["data"]["state"] == "STATE_CLOSED"
    assert delivery.id == f"{trade.trade_no}:{answer.trade.version}"
    [entry] = [one for one in await shop.trace(trade.trace_no) if one.kind == "trade"]
    assert (entry.state, entry.HasField("due_time")) == ("CLOSED", False)
    assert await reason(shop.pay(trade)) == "TRADE_NOT_PAYABLE"


async def test_paid_meanwhile_is_paid(fresh: World, receiver: Receiver):
    """The success is applied, and the call is refused with it."""
    shop = await fresh.shop(webhook_url=receiver.url)
    trade = await shop.waiting(fresh)
    fresh.payment.then(fresh.payment.becomes(Payment.STATE_SUCCEEDED))

    assert await refused(shop.close(trade)) == (
        "TRADE_NOT_CLOSABLE",
        {"trade_no": trade.trade_no, "state": "PAID"},
    )
    assert (await shop.trade(trade)).trade.state == Trade.STATE_PAID
    assert len(fresh.trade.published(TradePaid)) == 1
    assert fresh.trade.published(TradeClosed) == []
    await eventually(lambda: receiver.came)
    assert [one.content["type"] for one in receiver.came] == ["trade.paid"]


@pytest.mark.parametrize("state", [Payment.STATE_SUCCEEDED, Payment.STATE_REVIEW])
async def test_what_is_paid_or_in_doubt_is_not_closed(world: World, shop: Shop, state):
    """Nobody is asked."""
    world.payment.then(world.payment.says(state))
    trade = (await shop.pay()).message.trade
    asked = len(world.payment.asked_closes)

    told, facts = await refused(shop.close(trade))

    assert told == "TRADE_NOT_CLOSABLE"
    assert facts["state"] == Trade.State.Name(trade.state).removeprefix("STATE_")
    assert len(world.payment.asked_closes) == asked


async def test_a_recharge_that_waits_for_its_booking_is_not_closed(world: World, shop: Shop):
    """The payer was charged, though the trade says PAYING."""
    trade = (await shop.pay(shop.top_up())).message.trade
    assert trade.state == Trade.STATE_PAYING
    assert await reason(shop.close(trade)) == "TRADE_NOT_CLOSABLE"
    await world.book(trade)
    assert (await shop.trade(trade)).trade.state == Trade.STATE_PAID


async def test_a_payer_who_is_paying_refuses_and_nothing_is_left_of_the_wish(
    world: World, shop: Shop
):
    """The try goes on and may be paid; closing later works."""
    trade = await shop.waiting(world)
    world.payment.then(world.payment.refuses("PAYER_IS_PAYING"))

    assert await refused(shop.close(trade)) == (
        "PAYER_IS_PAYING",
        {"trade_no": trade.trade_no, "payment_no": trade.payment_no},
    )
    assert wish(world, trade) == (False, True)
    assert (await shop.trade(trade)).payment.action.qr_code == "pay://1"
    assert (await shop.close(trade)).message.trade.state == Trade.STATE_CLOSED


async def test_a_provider_that_does_not_say_decides_nothing_and_the_wish_stays(fresh: World):
    """OUTCOME_UNKNOWN; the trade stays PAYING; the timer closes it when the provider speaks."""
    shop = await fresh.shop()
    trade = await shop.waiting(fresh)
    fresh.payment.then(fresh.payment.says(Payment.STATE_PROCESSING))

    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await shop.close(trade)

    assert failed.value.code() is grpc.StatusCode.UNKNOWN
    assert (await shop.trade(trade)).trade.state == Trade.STATE_PAYING
    assert wish(fresh, trade) == (True, True)
    [entry] = [one for one in await shop.trace(trade.trace_no) if one.kind == "trade"]
    assert entry.facts["closing"] == "true"

    await fresh.trade.shift("5 seconds")

    async def closed():
        return (await shop.trade(trade)).trade.state == Trade.STATE_CLOSED

    await eventually(closed)
    assert len(fresh.payment.asked) == 1  # Nobody tried to have it paid again meanwhile.


@pytest.mark.parametrize("state", [Payment.STATE_CLOSED, Payment.STATE_FAILED])
async def test_a_silent_payment_leaves_the_wish_and_its_event_closes(fresh: World, state):
    """The caller hears OUTCOME_UNKNOWN in time; what payment says later is enough."""
    shop = await fresh.shop()
    trade = await shop.waiting(fresh)
    fresh.payment.then(fresh.payment.is_silent)

    assert await reason(shop.close(trade, timeout=0.5)) == "OUTCOME_UNKNOWN"
    assert wish(fresh, trade) == (True, True)
    payment = change(fresh.payment.payments[trade.payment_no], state=state)
    await fresh.tell("payment", PaymentFailed(payment=payment))

    assert (await shop.trade(trade)).trade.state == Trade.STATE_CLOSED
    assert len(fresh.trade.published(TradeClosed)) == 1
    assert wish(fresh, trade)[1] is False


async def test_a_wish_does_not_hide_a_success(fresh: World):
    """The payer was quicker than the provider's answer to the close: PAID, not CLOSED."""
    shop = await fresh.shop()
    trade = await shop.waiting(fresh)
    fresh.payment.then(fresh.payment.is_silent)
    assert await reason(shop.close(trade, timeout=0.5)) == "OUTCOME_UNKNOWN"
    payment = change(fresh.payment.payments[trade.payment_no], state=Payment.STATE_SUCCEEDED)
    await fresh.tell("payment", PaymentSucceeded(payment=payment))
    assert (await shop.trade(trade)).trade.state == Trade.STATE_PAID


async def test_a_provider_that_charges_after_it_has_closed_puts_the_trade_under_review(
    fresh: World, receiver: Receiver
):
    """CLOSED → REVIEW, an event, and no webhook that says PAID."""
    shop = await fresh.shop(webhook_url=receiver.url)
    trade = await shop.waiting(fresh)
    await shop.close(trade)
    payment = change(fresh.payment.payments[trade.payment_no], state=Payment.STATE_REVIEW)
    await fresh.tell("payment", PaymentReviewed(payment=payment))

    assert (await shop.trade(trade)).trade.state == Trade.STATE_REVIEW
    assert len(fresh.trade.published(TradeReviewed)) == 1
    kinds = fresh.trade.rows("SELECT type FROM webhook")
    assert kinds == [("trade.closed",)]
    assert await reason(shop.close(trade)) == "TRADE_NOT_CLOSABLE"


async def test_ten_closes_at_once_close_once(fresh: World):
    """One event; all are told that it is closed."""
    shop = await fresh.shop()
    trade = await shop.create()
    calls = [closed_at(desk, shop, trade) for desk in await fresh.replicas(10)]
    async with holding(fresh, ROW, no=trade.trade_no):
        tasks = [asyncio.create_task(call) for call in calls]
        await fresh.trade.blocked(10)
    settled = await together(*tasks)
    assert {closed.state for closed, _ in settled} == {TradeState.CLOSED}
    assert len(fresh.trade.published(TradeClosed)) == 1


# Who may ask, and how.


async def test_what_is_another_apps_is_not_there(world: World, shop: Shop):
    """By either number."""
    other = await world.shop()
    trade = await shop.create()
    assert await reason(other.close(trade)) == "TRADE_NOT_FOUND"
    request = pb.CloseTradeRequest(order_no=trade.order_no)
    assert await reason(other.stub.CloseTrade(request)) == "TRADE_NOT_FOUND"
    assert (await shop.trade(trade)).trade.state == Trade.STATE_CREATED


async def test_a_close_without_a_number_is_malformed(shop: Shop):
    """The contract's own rule."""
    assert await reason(shop.stub.CloseTrade(pb.CloseTradeRequest())) == "INVALID_FIELDS"
