"""Races between replicas, arranged: everybody waits at a lock, then it is let go."""

from __future__ import annotations

import asyncio

import pytest

from mesh.errors import Refused
from tests.service.trade.neighbours import Payment, change
from tests.service.trade.neighbours import Refund as Told
from tests.service.trade.shop import (
    Trade,
    World,
    calling,
    holding,
    money,
    pay_at,
    reason,
    refund_at,
    serial,
    together,
)
from tests.waiting import eventually
from tongbao.payment.v1.events_pb2 import PaymentSucceeded
from tongbao.trade.v1 import trade_service_pb2 as pb
from tongbao.trade.v1.events_pb2 import TradePaid, TradeReviewed
from trade.flow.apply_payment import apply_payment
from trade.flow.create_trade import create_trade
from trade.flow.pay_trade import Paid
from trade.states import RefundState, TradeState
from trade.wire import order_from_proto

ROW = "SELECT 1 FROM trade WHERE trade_no = %(no)s FOR UPDATE"


def reasons(settled: list) -> list[str]:
    """The refusals among results, sorted."""
    return sorted(error.reason for error in settled if isinstance(error, Refused))


async def at_once(world: World, lock: str, calls: list, **params) -> list:
    """Start all calls, wait until each is blocked by `lock`, let go, return what came out."""
    async with holding(world, lock, **params):
        tasks = [asyncio.create_task(call) for call in calls]
        await world.trade.blocked(len(calls))
    return await together(*tasks)


async def test_two_tries_for_one_trade_on_two_replicas(fresh: World):
    """One wins, the other is told which payment is in progress; one payer is charged."""
    shop = await fresh.shop()
    trade = await shop.create()
    gate = asyncio.Event()
    fresh.payment.then(fresh.payment.answers_when(gate, Payment.STATE_SUCCEEDED))
    one, other = await fresh.replicas(2)
    async with holding(fresh, ROW, no=trade.trade_no):
        tasks = [
            asyncio.create_task(pay_at(desk, shop, shop.payment(trade))) for desk in (one, other)
        ]
        await fresh.trade.blocked(2)
    [loser], [winner] = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    gate.set()

    with pytest.raises(Refused) as refusal:
        loser.result()
    won = await winner
    assert refusal.value.reason == "PAYMENT_IN_PROGRESS"
    assert refusal.value.facts["payment_no"] == won.payment_no
    assert won.trade.state is TradeState.PAID
    assert [item.payment_no for item in fresh.payment.asked] == [won.payment_no]


async def test_one_order_number_on_two_replicas(fresh: World):
    """Created at both at the same moment: one trade, one repetition."""
    shop = await fresh.shop()
    order = order_from_proto(shop.order())

    async def create(desk):
        with calling(shop):
            return await create_trade(desk, order)

    calls = [create(desk) for desk in await fresh.replicas(2)]
    settled = await at_once(fresh, "LOCK TABLE trade_key IN SHARE MODE", calls)
    assert len({trade.trade_no for trade, _ in settled}) == 1
    assert sorted(replayed for _, replayed in settled) == [False, True]


async def test_one_order_number_with_two_contents_on_two_replicas(fresh: World):
    """One is accepted, the other is told that the number is used."""
    shop = await fresh.shop()
    first = shop.order(100)
    second = shop.order(200, order_no=first.order_no)
    replicas = await fresh.replicas(2)
    calls = [
        pay_at(desk, shop, shop.payment(order))
        for desk, order in zip(replicas, (first, second), strict=True)
    ]
    settled = await at_once(fresh, "LOCK TABLE trade_key IN SHARE MODE", calls)
    assert reasons(settled) == ["REQUEST_REUSED"]
    assert len(fresh.payment.asked) == 1


async def test_one_order_paid_inline_on_two_replicas(fresh: World):
    """Under two request ids: one pays it, the other finds it being paid or paid."""
    shop = await fresh.shop()
    order = shop.order()
    calls = [pay_at(desk, shop, shop.payment(order)) for desk in await fresh.replicas(2)]
    settled = await at_once(fresh, "LOCK TABLE trade_key IN SHARE MODE", calls)
    [refusal] = reasons(settled)
    assert refusal in ("PAYMENT_IN_PROGRESS", "TRADE_NOT_PAYABLE")
    assert len(fresh.payment.asked) == 1


async def test_the_same_call_on_two_replicas_is_one_try(fresh: World):
    """For a new order and for a trade that exists: one payment, one repetition."""
    shop = await fresh.shop()
    trade = await shop.create()
    locks = [
        (shop.payment(), "LOCK TABLE trade_key IN SHARE MODE"),
        (shop.payment(trade), "LOCK TABLE pay_key IN SHARE MODE"),
    ]
    for request, lock in locks:
        asked = len(fresh.payment.asked)
        calls = [pay_at(desk, shop, request) for desk in await fresh.replicas(2)]
        settled = await at_once(fresh, lock, calls)
        assert len({paid.payment_no for paid in settled}) == 1
        assert sorted(paid.replayed for paid in settled) == [False, True]
        assert len(fresh.payment.asked) == asked + 1


async def test_one_request_id_for_two_orders_writes_one_of_them(fresh: World):
    """The loser had won its order number already: all of it is undone, the number is free."""
    shop = await fresh.shop()
    request_id = f"try-{serial()}"
    requests = [shop.payment(request_id=request_id) for _ in range(2)]
    lock = """INSERT INTO pay_key VALUES (%(app_id)s, %(request_id)s, 'none', 'none', '')"""
    replicas = await fresh.replicas(2)
    calls = [pay_at(desk, shop, request) for desk, request in zip(replicas, requests, strict=True)]
    settled = await at_once(fresh, lock, calls, app_id=shop.app.app_id, request_id=request_id)
    assert reasons(settled) == ["REQUEST_REUSED"]
    [winner] = [one for one in settled if isinstance(one, Paid)]
    assert fresh.trade.rows("SELECT trade_no FROM trade_key") == [(winner.trade.trade_no,)]
    assert fresh.trade.rows("SELECT trade_no FROM trade") == [(winner.trade.trade_no,)]

    [free] = [one.new_trade for one in requests if one.new_trade.order_no != winner.trade.order_no]
    free.amount.CopyFrom(money(77))
    assert (await shop.pay(free)).message.trade.state == Trade.STATE_PAID


@pytest.mark.parametrize("replicas", [1, 10])
async def test_ten_refunds_for_three_places(fresh: World, replicas: int):
    """300 each of 1000: three pass, seven are told what is left, whoever they asked."""
    shop = await fresh.shop()
    trade = await shop.paid(1000)
    desks = await fresh.replicas(replicas)
    async with holding(fresh, ROW, no=trade.trade_no):
        tasks = [
            asyncio.create_task(
                refund_at(desks[number % replicas], shop, shop.giving_back(trade, 300))
            )
            for number in range(10)
        ]
        await fresh.trade.blocked(replicas)
    settled = await together(*tasks)

    assert reasons(settled) == ["REFUND_EXCEEDS_TRADE"] * 7
    lefts = {error.facts["left_minor_units"] for error in settled if isinstance(error, Refused)}
    assert lefts == {"100"}
    assert (await shop.trade(trade)).trade.refunded_amount == money(900)
    assert sum(item.amount.minor_units for item in fresh.payment.asked_refunds) == 900


async def test_the_same_refund_on_ten_replicas_is_one(fresh: World):
    """Nine repetitions; the amount is taken once."""
    shop = await fresh.shop()
    trade = await shop.paid(1000)
    request = shop.giving_back(trade, 1000)
    calls = [refund_at(desk, shop, request) for desk in await fresh.replicas(10)]
    settled = await at_once(fresh, ROW, calls, no=trade.trade_no)
    assert len({refund.refund_no for refund, _, _ in settled}) == 1
    assert sorted(replayed for *_, replayed in settled) == [False] + [True] * 9
    assert len(fresh.payment.asked_refunds) == 1


async def test_a_refund_that_fails_while_others_wait_for_its_place(fresh: World):
    """The amount that comes back can be taken by those behind it, never twice."""
    shop = await fresh.shop()
    trade = await shop.paid(1000)
    gate = asyncio.Event()
    fresh.payment.then(fresh.payment.answers_when(gate, Told.STATE_FAILED))
    first, *others = await fresh.replicas(5)
    failing = asyncio.create_task(refund_at(first, shop, shop.giving_back(trade, 1000)))
    await eventually(lambda: fresh.payment.asked_refunds)
    async with holding(fresh, ROW, no=trade.trade_no):
        gate.set()
        await fresh.trade.blocked(1)
        tasks = [
            asyncio.create_task(refund_at(desk, shop, shop.giving_back(trade, 400)))
            for desk in others
        ]
        await fresh.trade.blocked(5)
    refund, *_ = await failing
    settled = await together(*tasks)

    assert refund.state is RefundState.FAILED
    assert reasons(settled) == ["REFUND_EXCEEDS_TRADE"] * 2
    taken = "SELECT refunded_minor, fee_refunded_minor FROM trade WHERE trade_no = %(no)s"
    sums = "SELECT sum(amount_minor), sum(fee_minor) FROM refund WHERE state = 'succeeded'"
    assert fresh.trade.rows(taken, no=trade.trade_no) == fresh.trade.rows(sums) == [(800, 5)]


async def test_two_payments_of_one_trade_succeed_at_once(fresh: World):
    """The one it holds and one it had given up, which payment reviews: PAID, whichever is first."""
    shop = await fresh.shop()
    failed, open_state = Payment.STATE_FAILED, Payment.STATE_PROCESSING
    fresh.payment.then(fresh.payment.says(failed), fresh.payment.says(open_state))
    old = (await shop.pay()).message
    new = (await shop.pay(old.trade)).message
    known = fresh.payment.payments
    payments = [
        change(known[old.payment.payment_no], state=Payment.STATE_REVIEW),
        change(known[new.payment.payment_no], state=Payment.STATE_SUCCEEDED),
    ]
    replicas = await fresh.replicas(2)
    calls = [apply_payment(desk, payment) for desk, payment in zip(replicas, payments, strict=True)]
    await at_once(fresh, ROW, calls, no=old.trade.trade_no)
    now = await shop.trade(old.trade)

    assert now.trade.state == Trade.STATE_PAID
    assert now.payment.payment_no == new.payment.payment_no
    assert len(fresh.trade.published(TradeReviewed)) <= 1
    assert len(fresh.trade.published(TradePaid)) == 1


async def test_answer_and_event_at_once_move_the_trade_once(fresh: World, receiver):
    """One event, one webhook, one version."""
    shop = await fresh.shop(webhook_url=receiver.url)
    fresh.payment.then(fresh.payment.says(Payment.STATE_PROCESSING))
    trade = (await shop.pay()).message.trade
    payment = change(fresh.payment.payments[trade.payment_no], state=Payment.STATE_SUCCEEDED)
    calls = [apply_payment(desk, payment) for desk in await fresh.replicas(5)]
    settled = await at_once(fresh, ROW, calls, no=trade.trade_no)

    assert {moved.version for moved in settled} == {(await shop.trade(trade)).trade.version}
    assert len(fresh.trade.published(TradePaid)) == 1
    assert fresh.trade.rows("SELECT count(*) FROM webhook") == [(1,)]


async def test_an_event_told_again_changes_nothing(fresh: World):
    """The stream is read once more from its beginning."""
    shop = await fresh.shop()
    fresh.payment.then(fresh.payment.says(Payment.STATE_PROCESSING))
    trade = (await shop.pay()).message.trade
    payment = change(fresh.payment.payments[trade.payment_no], state=Payment.STATE_SUCCEEDED)
    await fresh.tell("payment", PaymentSucceeded(payment=payment))
    paid = (await shop.trade(trade)).trade
    fresh.trade.rows("DELETE FROM inbox")
    await fresh.ground.deliver_again("trade", source="payment")
    await fresh.tell("payment", PaymentSucceeded(payment=payment))

    assert paid.state == Trade.STATE_PAID
    assert (await shop.trade(trade)).trade == paid
    assert fresh.trade.dead_letters() == []


async def test_a_trade_of_one_app_cannot_be_claimed_by_another(fresh: World):
    """The tenant is part of the claim itself, not only of the read before it."""
    shop, other = await fresh.shop(), await fresh.shop()
    trade = await shop.create()
    request = pb.PayTradeRequest(request_id="x", trade_no=trade.trade_no, tool=1)
    assert await reason(other.stub.PayTrade(request)) == "TRADE_NOT_FOUND"
