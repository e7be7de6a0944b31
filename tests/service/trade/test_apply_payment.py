"""apply_payment and apply_voucher: every state of a payment on every state of a trade."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.service.trade.neighbours import Payment, change
from tests.service.trade.shop import Shop, Trade, View, World, money
from tests.service.trade.test_fee import paid_trade
from tongbao.payment.v1.events_pb2 import PaymentFailed, PaymentReviewed, PaymentSucceeded
from tongbao.trade.v1.events_pb2 import TradePaid, TradeReviewed
from trade.after import after_payment, after_voucher
from trade.model import PaymentView, TradeType
from trade.states import PayState, TradeState

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
CREATED, PAYING, PAID, CLOSED, REVIEW, COMPLETED = (
    TradeState.CREATED, TradeState.PAYING, TradeState.PAID, TradeState.CLOSED,
    TradeState.REVIEW, TradeState.COMPLETED,
)  # fmt: skip
NONE, PROCESSING, SUCCEEDED, FAILED = (
    PayState.NONE, PayState.PROCESSING, PayState.SUCCEEDED, PayState.FAILED,
)  # fmt: skip

OWN = [
    # the trade is…                       payment says    …and then it is
    ((PAYING, PROCESSING),                SUCCEEDED,      (PAID, SUCCEEDED)),
    ((PAYING, PROCESSING),                FAILED,         (PAYING, FAILED)),
    ((PAYING, PROCESSING),                PayState.CLOSED, (PAYING, PayState.CLOSED)),
    ((PAYING, PROCESSING),                PayState.REVIEW, (REVIEW, PayState.REVIEW)),
    ((PAYING, FAILED),                    PayState.REVIEW, (REVIEW, PayState.REVIEW)),
    ((PAYING, PayState.CLOSED),           PayState.REVIEW, (REVIEW, PayState.REVIEW)),
    ((PAYING, FAILED),                    SUCCEEDED,      (PAID, SUCCEEDED)),
    ((PAID, SUCCEEDED),                   PayState.REVIEW, (REVIEW, PayState.REVIEW)),
    ((CLOSED, FAILED),                    SUCCEEDED,      (REVIEW, SUCCEEDED)),
    ((CLOSED, FAILED),                    PayState.REVIEW, (REVIEW, PayState.REVIEW)),
    ((REVIEW, PROCESSING),                SUCCEEDED,      (PAID, SUCCEEDED)),
    ((REVIEW, PROCESSING),                FAILED,         (CLOSED, FAILED)),
    ((REVIEW, PayState.REVIEW),           SUCCEEDED,      (PAID, SUCCEEDED)),
    ((REVIEW, PayState.REVIEW),           PayState.CLOSED, (CLOSED, PayState.CLOSED)),
]  # fmt: skip


def trade_of(world: World, state: TradeState, pay_state: PayState, **fields):
    """A trade that stands so, at version 5 of its payment."""
    one = paid_trade(world.desk, amount_minor=1000, fee_minor=6, policy="return")
    due_time = one.expire_time if state is PAYING else None
    due_time = NOW + timedelta(seconds=5) if pay_state is PROCESSING else due_time
    wanted = {"state": state, "pay_state": pay_state, "pay_version": 5, "due_time": due_time,
              "update_time": NOW - timedelta(seconds=1)}  # fmt: skip
    return replace(one, **(wanted | fields))


def says(state: PayState, payment_no: str, *, version: int = 6, **fields) -> PaymentView:
    texts = {"qr_code": "", "failure_reason": ""}
    return PaymentView(payment_no=payment_no, state=state, version=version, **(texts | fields))


@pytest.mark.parametrize(("before", "told", "after"), OWN)
def test_what_its_own_payment_says_moves_a_trade(shared_world: World, before, told, after):
    """One version up; due while the payment is open, or when the trade expires."""
    trade = trade_of(shared_world, *before)
    moved = after_payment(trade, says(told, trade.payment_no), now=NOW)
    assert (moved.state, moved.pay_state) == after
    assert (moved.version, moved.pay_version) == (trade.version + 1, 6)
    assert moved.update_time == NOW
    assert moved.due_time == (trade.expire_time if moved.state is PAYING else None)


@pytest.mark.parametrize("told", list(PayState)[1:])
@pytest.mark.parametrize("version", [1, 5])
def test_what_is_not_newer_changes_nothing(shared_world: World, told, version):
    """Whatever it says."""
    for state, pay_state in [(PAYING, PROCESSING), (PAID, SUCCEEDED), (REVIEW, FAILED)]:
        trade = trade_of(shared_world, state, pay_state)
        view = says(told, trade.payment_no, version=version)
        assert after_payment(trade, view, now=NOW) is trade


def test_processing_takes_nothing_back(shared_world: World):
    """A payment that was known to be over is not open again, whatever its version."""
    for pay_state in (SUCCEEDED, FAILED, PayState.CLOSED, PayState.REVIEW):
        trade = trade_of(shared_world, PAYING, pay_state)
        assert after_payment(trade, says(PROCESSING, trade.payment_no), now=NOW) is trade


def test_a_code_to_scan_comes_later_and_stays(shared_world: World):
    """The trade stays open and due; an answer without a code does not take it away."""
    trade = trade_of(shared_world, PAYING, PROCESSING)
    coded = after_payment(trade, says(PROCESSING, trade.payment_no, qr_code="pay://1"), now=NOW)
    assert (coded.qr_code, coded.version) == ("pay://1", trade.version + 1)
    assert coded.due_time == trade.due_time
    silent = after_payment(coded, says(PROCESSING, trade.payment_no, version=7), now=NOW)
    assert silent is coded


STRANGERS = [
    # the trade is…           another one says   …and then it is
    ((PAYING, PROCESSING),    SUCCEEDED,         REVIEW),
    ((PAYING, FAILED),        SUCCEEDED,         REVIEW),
    ((PAYING, PROCESSING),    PayState.REVIEW,   REVIEW),
    ((PAID, SUCCEEDED),       SUCCEEDED,         REVIEW),
    ((PAID, SUCCEEDED),       PayState.REVIEW,   None),
    ((CLOSED, FAILED),        PayState.REVIEW,   REVIEW),
    ((CLOSED, FAILED),        SUCCEEDED,         REVIEW),
    ((PAYING, PROCESSING),    FAILED,            None),
    ((PAYING, PROCESSING),    PROCESSING,        None),
    ((PAID, SUCCEEDED),       FAILED,            None),
    ((REVIEW, SUCCEEDED),     SUCCEEDED,         None),
    ((COMPLETED, SUCCEEDED),  FAILED,            None),
]  # fmt: skip


@pytest.mark.parametrize(("before", "told", "after"), STRANGERS)
def test_another_payment_that_charged_the_payer_is_noticed(
    shared_world: World, before, told, after
):
    """REVIEW, and how its own payment stands is kept: an open one stays due."""
    trade = trade_of(shared_world, *before)
    moved = after_payment(trade, says(told, "20261122PY0000000000000000"), now=NOW)
    if after is None:
        assert moved is trade
        return
    assert moved.state is after
    assert (moved.payment_no, moved.pay_state) == (trade.payment_no, trade.pay_state)
    assert moved.due_time == (trade.due_time if trade.is_open else None)


VOUCHERS = [
    # the recharge is…         then
    ((PAYING, PROCESSING),     (PAID, SUCCEEDED)),   # Booked before payment's word came here.
    ((PAYING, SUCCEEDED),      (PAID, SUCCEEDED)),
    ((CLOSED, FAILED),         (REVIEW, SUCCEEDED)),
    ((PAID, SUCCEEDED),        None),
    ((REVIEW, SUCCEEDED),      None),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after"), VOUCHERS)
def test_a_recharge_is_paid_when_it_is_booked(shared_world: World, before, after):
    """Once, and never out of REVIEW."""
    trade = trade_of(shared_world, *before, type=TradeType.RECHARGE)
    moved = after_voucher(trade, trade.payment_no, now=NOW)
    if after is None:
        assert moved is trade
    else:
        assert (moved.state, moved.pay_state) == after
        assert moved.due_time is None


def test_a_recharge_that_is_charged_stays_due_until_it_is_booked(shared_world: World):
    """PAYING with a payment that SUCCEEDED: somebody has to look again."""
    trade = trade_of(shared_world, PAYING, PROCESSING, type=TradeType.RECHARGE)
    charged = after_payment(trade, says(SUCCEEDED, trade.payment_no), now=NOW)
    assert (charged.state, charged.pay_state) == (PAYING, SUCCEEDED)
    assert charged.due_time == trade.due_time
    assert charged.is_open


def test_a_voucher_of_another_payment_is_noticed(shared_world: World):
    """A recharge that was booked twice goes to REVIEW."""
    trade = trade_of(shared_world, PAID, SUCCEEDED, type=TradeType.RECHARGE)
    assert after_voucher(trade, "20261122PY0000000000000000", now=NOW).state is REVIEW


async def open_try(world: World, shop: Shop, order=None):
    """A trade with an open try, and its payment."""
    world.payment.then(world.payment.says(Payment.STATE_PROCESSING))
    trade = (await shop.pay(order)).message.trade
    return trade, world.payment.payments[trade.payment_no]


async def test_events_of_payment_move_the_trade(world: World, shop: Shop):
    """The same door as the answer: PaymentSucceeded, PaymentFailed, PaymentReviewed."""
    ends = [
        (PaymentSucceeded, Payment.STATE_SUCCEEDED, Trade.STATE_PAID, View.STATE_SUCCEEDED),
        (PaymentFailed, Payment.STATE_FAILED, Trade.STATE_PAYING, View.STATE_FAILED),
        (PaymentReviewed, Payment.STATE_REVIEW, Trade.STATE_REVIEW, View.STATE_REVIEW),
    ]
    for event, told, state, view in ends:
        trade, payment = await open_try(world, shop)
        await world.tell("payment", event(payment=change(payment, state=told)))
        now = await shop.trade(trade)
        assert (now.trade.state, now.payment.state) == (state, view)
    assert world.trade.dead_letters() == []


async def test_a_late_success_of_an_earlier_try_is_noticed(world: World, shop: Shop):
    """The trade was paid by its second try; the first one's money is payment's to give back."""
    world.payment.then(world.payment.says(Payment.STATE_FAILED))
    first = (await shop.pay()).message
    paid = (await shop.pay(first.trade)).message.trade
    late = change(world.payment.payments[first.payment.payment_no], state=Payment.STATE_REVIEW)
    await world.tell("payment", PaymentReviewed(payment=late))
    now = (await shop.trade(paid)).trade
    assert (now.state, now.payment_no) == (Trade.STATE_PAID, paid.payment_no)


# A person has decided about another payment than the latest try.
DECIDED = [
    # the trade is…           the other one is    …and then it is          and its payment
    ((REVIEW, FAILED),        SUCCEEDED,          PAID,                    "other"),
    ((REVIEW, PROCESSING),    SUCCEEDED,          PAID,                    "other"),
    ((REVIEW, FAILED),        PayState.CLOSED,    CLOSED,                  "own"),
    ((REVIEW, SUCCEEDED),     PayState.CLOSED,    PAID,                    "own"),
    ((REVIEW, PROCESSING),    PayState.CLOSED,    REVIEW,                  "own"),
    ((PAID, SUCCEEDED),       PayState.CLOSED,    PAID,                    "own"),
    ((CLOSED, FAILED),        SUCCEEDED,          REVIEW,                  "own"),
]  # fmt: skip


@pytest.mark.parametrize(("before", "told", "after", "whose"), DECIDED)
def test_what_was_decided_about_another_payment_ends_the_doubt(
    shared_world: World, before, told, after, whose
):
    """Accepted it is the trade's own, with its fee; given back the trade is what it was."""
    trade = trade_of(shared_world, *before)
    other = "20261122PY0000000000000000"
    view = replace(says(told, other), review_kind="LATE_SUCCESS", fee_minor=7)
    moved = after_payment(trade, view, now=NOW)
    assert moved.state is after
    assert moved.payment_no == (other if whose == "other" else trade.payment_no)
    assert moved.fee_minor == (7 if whose == "other" else trade.fee_minor)


async def test_an_accepted_payment_leads_a_closed_trade_to_paid(world: World, shop: Shop):
    """Its words may come at once: the doubt and its end."""
    world.payment.then(world.payment.says(Payment.STATE_FAILED))
    first = (await shop.pay()).message
    await shop.close(first.trade)
    accepted = change(
        world.payment.payments[first.payment.payment_no],
        state=Payment.STATE_SUCCEEDED,
        review_kind="LATE_SUCCESS",
    )
    await world.tell("payment", PaymentSucceeded(payment=accepted))
    assert (await shop.trade(first.trade)).trade.state == Trade.STATE_PAID


async def test_a_move_to_review_has_an_event_and_no_webhook(fresh: World, receiver):
    """Nobody may believe that it was paid."""
    shop = await fresh.shop(webhook_url=receiver.url)
    trade, payment = await open_try(fresh, shop)
    reviewed = change(payment, state=Payment.STATE_REVIEW)
    await fresh.tell("payment", PaymentReviewed(payment=reviewed))
    now = (await shop.trade(trade)).trade
    assert [event.trade for event in fresh.trade.published(TradeReviewed)] == [now]
    assert fresh.trade.rows("SELECT count(*) FROM webhook") == [(0,)]


async def test_a_move_to_paid_is_published_with_the_trade_after_it(fresh: World):
    """TradePaid carries what GetTrade says."""
    shop = await fresh.shop()
    trade = await shop.paid()
    assert [event.trade for event in fresh.trade.published(TradePaid)] == [trade]
    assert trade == (await shop.trade(trade)).trade


async def test_a_recharge_is_announced_after_its_posting(world: World, shop: Shop):
    """In both orders of arrival; vouchers of other templates say nothing."""
    trade, payment = await open_try(world, shop, shop.top_up())
    charged = change(payment, state=Payment.STATE_SUCCEEDED)
    await world.tell("payment", PaymentSucceeded(payment=charged))
    await world.book(trade, template="COLLECTED")
    now = await shop.trade(trade)
    assert (now.trade.state, now.payment.state) == (Trade.STATE_PAYING, View.STATE_SUCCEEDED)
    await world.book(trade)
    assert (await shop.trade(trade)).trade.state == Trade.STATE_PAID

    early, payment = await open_try(world, shop, shop.top_up())
    await world.book(early)
    assert (await shop.trade(early)).trade.state == Trade.STATE_PAID
    version = (await shop.trade(early)).trade.version
    charged = change(payment, state=Payment.STATE_SUCCEEDED)
    await world.tell("payment", PaymentSucceeded(payment=charged))
    assert (await shop.trade(early)).trade.version == version
    assert world.trade.dead_letters() == []


@pytest.mark.parametrize(
    ("kind", "then"), [(PaymentSucceeded, Trade.STATE_PAID), (PaymentReviewed, Trade.STATE_REVIEW)]
)
async def test_a_recharge_is_paid_when_its_wallet_takes_what_it_had_refused(
    world: World, shop: Shop, kind, then
):
    """It keeps the number of its payment. What is under review by then stays so."""
    trade, payment = await open_try(world, shop, shop.top_up())
    state = Payment.STATE_SUCCEEDED if kind is PaymentSucceeded else Payment.STATE_REVIEW
    charged = change(payment, state=state)
    await world.tell("payment", kind(payment=charged))
    number = payment.payment_no

    release_no = f"{number[:8]}LB{number[10:]}"
    await world.book(trade, template="SUSPENSE_RECHARGED", source_no=release_no)

    now = await shop.trade(trade)
    assert (now.trade.state, now.trade.payment_no) == (then, number)
    assert world.trade.dead_letters() == []


async def test_an_event_that_cannot_be_is_set_aside(fresh: World):
    """A payment of another amount: the trade does not move, people have to look."""
    shop = await fresh.shop()
    trade, payment = await open_try(fresh, shop)
    wrong = change(payment, state=Payment.STATE_SUCCEEDED)
    wrong.amount.CopyFrom(money(1))
    await fresh.tell("payment", PaymentSucceeded(payment=wrong))
    assert (await shop.trade(trade)).trade.state == Trade.STATE_PAYING
    [letter] = fresh.trade.dead_letters()
    assert letter.number == payment.payment_no
