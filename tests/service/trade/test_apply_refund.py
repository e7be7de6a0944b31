"""apply_refund: what payment says of refunds, by answer and by event, in any order."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from tests.service.trade.neighbours import Refund as Told
from tests.service.trade.neighbours import change
from tests.service.trade.shop import Refund, Shop, World, money
from tongbao.payment.v1.events_pb2 import RefundFailed, RefundSucceeded
from tongbao.trade.v1.events_pb2 import TradeRefunded, TradeRefundFailed
from trade.states import REFUND, RefundEvent, RefundState
from trade.store import refund as store

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


async def open_refund(world: World, shop: Shop, amount_minor: int = 300):
    """A refund of 1000 whose outcome is open, and how it stands at payment."""
    trade = await shop.paid(1000)
    world.payment.then(world.payment.says(Told.STATE_PROCESSING))
    refund = (await shop.refund(trade, amount_minor)).message.refund
    return trade, refund, world.payment.refunds[refund.refund_no]


async def test_success_is_published_with_the_refund_after_it(fresh: World):
    """TradeRefunded carries what GetRefund says."""
    shop = await fresh.shop()
    trade, refund, told = await open_refund(fresh, shop)
    arrived = change(told, state=Told.STATE_SUCCEEDED)
    await fresh.tell("payment", RefundSucceeded(refund=arrived), RefundSucceeded(refund=arrived))
    now = await shop.refund_now(refund)
    assert (now.state, now.version) == (Refund.STATE_SUCCEEDED, refund.version + 1)
    assert [event.refund for event in fresh.trade.published(TradeRefunded)] == [now]
    assert (await shop.trade(trade)).trade.refunded_amount == money(300)


async def test_failure_is_published_and_gives_amount_and_fee_back(fresh: World):
    """Once, however often it is told."""
    shop = await fresh.shop()
    trade, refund, told = await open_refund(fresh, shop)
    failed = change(told, state=Told.STATE_FAILED, failure_reason="PROVIDER_REFUSED")
    for _ in range(2):
        await fresh.tell("payment", RefundFailed(refund=failed))
    now = await shop.refund_now(refund)
    assert (now.state, now.failure_reason) == (Refund.STATE_FAILED, "PROVIDER_REFUSED")
    assert [event.refund for event in fresh.trade.published(TradeRefundFailed)] == [now]
    left = "SELECT refunded_minor, fee_refunded_minor FROM trade WHERE trade_no = %(no)s"
    assert fresh.trade.rows(left, no=trade.trade_no) == [(0, 0)]
    assert fresh.trade.dead_letters() == []


async def test_what_is_older_changes_nothing(world: World, shop: Shop):
    """A failure that was overtaken by a success, and an event of another amount."""
    _, refund, told = await open_refund(world, shop)
    failed = change(told, state=Told.STATE_FAILED)
    arrived = change(failed, state=Told.STATE_SUCCEEDED)
    await world.tell("payment", RefundSucceeded(refund=arrived))
    await world.tell("payment", RefundFailed(refund=failed))
    assert (await shop.refund_now(refund)).state == Refund.STATE_SUCCEEDED


async def test_a_refund_leaves_review_when_payment_says_so(world: World, shop: Shop):
    """Its amount stays counted under review and is given back when it failed after all."""
    trade = await shop.paid(1000)
    world.payment.then(world.payment.says(Told.STATE_REVIEW))
    refund = (await shop.refund(trade, 300)).message.refund
    assert refund.state == Refund.STATE_REVIEW
    failed = change(world.payment.refunds[refund.refund_no], state=Told.STATE_FAILED)
    await world.tell("payment", RefundFailed(refund=failed))
    assert (await shop.refund_now(refund)).state == Refund.STATE_FAILED
    assert (await shop.trade(trade)).trade.refunded_amount == money(0)


async def test_every_event_on_every_state(world: World, shop: Shop):
    """The table decides; a move is one version up and not due, and time never goes back."""
    _, refund, _ = await open_refund(world, shop)
    found = await store.find_refund(
        world.desk.db, app_id=shop.app.app_id, refund_no=refund.refund_no
    )
    for state in RefundState:
        own = replace(found, state=state)
        for event in RefundEvent:
            after = own.after_told(event, version=9, failure_reason="WHY", now=LONG_AGO)
            if not REFUND.allows(state, event):
                assert after is own
                continue
            assert after.state is REFUND.next(state, event)
            assert (after.version, after.pay_version) == (own.version + 1, 9)
            assert (after.failure_reason, after.due_time) == ("WHY", None)
            assert after.update_time == own.update_time
            old = own.after_told(event, version=own.pay_version, failure_reason="", now=LONG_AGO)
            assert old is own
        assert own.after_told(None, version=9, failure_reason="", now=LONG_AGO) is own
