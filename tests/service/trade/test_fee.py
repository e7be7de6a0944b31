"""The fee snapshot, and the shares that refunds return of it, against exact arithmetic."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from fractions import Fraction
from math import floor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.service.trade.shop import World, serial
from trade.desk import Desk
from trade.fee import fee_of
from trade.model import FeePolicy, Order, Refund, Tool, Trade, TradeType
from trade.states import REFUND, PayState, RefundState, TradeState
from trade.store import kept
from trade.store import refund as refunds
from trade.store import trade as trades
from trade.store.webhook import Letter

FEES = [
    # amount  ppm        least  fee
    (1000,    6000,      0,     6),
    (1250,    6000,      0,     8),      # 7.5 is rounded up.
    (1249,    6000,      0,     7),      # 7.494 is not.
    (83,      6000,      0,     0),      # 0.498
    (84,      6000,      0,     1),      # 0.504
    (1000,    0,         0,     0),
    (1000,    0,         5,     5),
    (1000,    1,         5,     5),
    (3,       1,         5,     3),      # Never more than the amount.
    (1000,    1_000_000, 0,     1000),
    (10**15,  999_999,   0,     10**15 - 10**9),
]  # fmt: skip


@pytest.mark.parametrize(("amount", "ppm", "least", "fee"), FEES)
def test_the_fee_of(amount, ppm, least, fee):
    """Rate, rounding half up, least fee, amount: in this order."""
    assert fee_of(amount, rate_ppm=ppm, least_minor=least) == fee


@given(amount=st.integers(1, 10**15), ppm=st.integers(0, 1_000_000), least=st.integers(0, 10**9))
def test_the_fee_is_the_exact_one(amount, ppm, least):
    """Against fractions."""
    exact = floor(Fraction(amount * ppm, 1_000_000) + Fraction(1, 2))
    expected = max(exact, least)
    assert fee_of(amount, rate_ppm=ppm, least_minor=least) == min(expected, amount)


def paid_trade(desk: Desk, *, amount_minor: int, fee_minor: int, policy: FeePolicy) -> Trade:
    """A trade that was paid, as it stands in the table."""
    now = desk.clock.now()
    number = serial()
    return Trade(
        trade_no=f"20261122TR{number:016d}",
        app_id="app_fee",
        business_code="FEE",
        order_no=f"order-{number}",
        trace_no=f"FEE-order-{number}",
        type=TradeType.COLLECT,
        product_code="P",
        merchant_id="m",
        user_no="",
        currency_code="CNY",
        amount_minor=amount_minor,
        refunded_minor=0,
        fee_minor=fee_minor,
        fee_policy=policy,
        fee_refunded_minor=0,
        subject="",
        state=TradeState.PAID,
        version=3,
        payment_no=f"20261122PY{number:016d}",
        pay_tool=Tool.QR_PAYER,
        pay_state=PayState.SUCCEEDED,
        pay_version=3,
        qr_code="",
        failure_reason="",
        expire_time=now,
        due_time=None,
        tries=0,
        closing=False,
        create_time=now,
        update_time=now,
    )


async def add(desk: Desk, trade: Trade) -> None:
    order = Order(
        order_no=trade.order_no,
        product_code="P",
        merchant_id="m",
        user_no="",
        currency_code="CNY",
        amount_minor=trade.amount_minor,
        subject="",
        fingerprint=b"x",
    )
    assert await trades.add_trade(desk.db, trade, order=order)


async def give_back(desk: Desk, trade: Trade, amount_minor: int) -> Refund:
    """Take a refund out of the trade; return it as it was written."""
    now = desk.clock.now()
    number = serial()
    new = Refund(
        refund_no=f"20261122RF{number:016d}",
        app_id=trade.app_id,
        refund_order_no=f"back-{number}",
        trade_no=trade.trade_no,
        payment_no="",
        trace_no="",
        currency_code="CNY",
        amount_minor=amount_minor,
        fee_minor=0,
        cause="",
        state=REFUND.initial,
        version=1,
        pay_version=0,
        failure_reason="",
        due_time=now + timedelta(days=1),  # Nobody else shall look at it.
        tries=0,
        create_time=now,
        update_time=now,
    )
    taken = await refunds.add_refund(desk.db, new, fingerprint=b"x")
    assert taken.trade is not None
    assert taken.outcome == "done", (taken, amount_minor)
    return replace(new, fee_minor=taken.fee_minor)


async def fail(desk: Desk, refund: Refund) -> None:
    """Have the refund fail: amount and fee go back to the trade."""
    after = replace(refund, state=RefundState.FAILED, version=2, due_time=None)
    assert await refunds.move_refund(desk.db, refund, after, event=b"", letter=Letter())


amounts = st.integers(1, 40) | st.integers(1, 10**15)


@st.composite
def stories(draw):
    """An amount, a fee within it, and steps: a part of what is left, or which refund fails."""
    amount_minor = draw(amounts)
    fee_minor = draw(st.integers(0, amount_minor))
    step = st.fractions(0, 1, max_denominator=20) | st.integers(0, 5)
    return amount_minor, fee_minor, draw(st.lists(step, max_size=8))


@settings(max_examples=200, deadline=None)
@given(story=stories())
async def test_whatever_completes_the_amount_returns_the_fee(shared_world: World, story):
    """Parts of any size, any of which may fail at any time: in the end exactly the fee.

    No share is negative or more than its refund, and as long as none has failed every sum of
    shares is the exact share of the sum of parts.
    """
    desk = shared_world.desk
    amount_minor, fee_minor, steps = story
    trade = paid_trade(
        desk, amount_minor=amount_minor, fee_minor=fee_minor, policy=FeePolicy.RETURN
    )
    await add(desk, trade)
    standing: list[Refund] = []
    any_failed = False
    for step in steps:
        left = amount_minor - sum(one.amount_minor for one in standing)
        if isinstance(step, int):
            if standing:
                await fail(desk, standing.pop(step % len(standing)))
                any_failed = True
        elif (part := max(1, floor(step * left))) < left:
            refund = await give_back(desk, trade, part)
            assert 0 <= refund.fee_minor <= part
            standing.append(refund)
            if not any_failed:
                share = Fraction(fee_minor * (amount_minor - left + part), amount_minor)
                assert sum(one.fee_minor for one in standing) == floor(share + Fraction(1, 2))
    last = await give_back(desk, trade, amount_minor - sum(one.amount_minor for one in standing))
    assert 0 <= last.fee_minor <= last.amount_minor
    assert sum(one.fee_minor for one in [*standing, last]) == fee_minor
    now = await kept.find_trade(desk.db, app_id=trade.app_id, trade_no=trade.trade_no)
    assert (now.refunded_minor, now.fee_refunded_minor) == (amount_minor, fee_minor)


GAPS = [
    # amount, fee, parts, of which the first fails, …next parts, …their shares
    (10,      9,   (5, 1),                          (1, 8),      (1, 8)),  # Not the 2 that fell.
    (10,      1,   (4, 1),                          (1, 8),      (0, 0)),  # Not -1.
]  # fmt: skip


@pytest.mark.parametrize(("amount", "fee", "parts", "others", "shares"), GAPS)
async def test_a_gap_of_a_failed_refund_is_closed_by_the_next(
    shared_world: World, amount, fee, parts, others, shares
):
    """A share is never more than its refund and never negative; the rest returns the rest."""
    desk = shared_world.desk
    trade = paid_trade(desk, amount_minor=amount, fee_minor=fee, policy=FeePolicy.RETURN)
    await add(desk, trade)
    first, _ = [await give_back(desk, trade, part) for part in parts]
    await fail(desk, first)
    assert tuple([(await give_back(desk, trade, part)).fee_minor for part in others]) == shares


async def test_parts_at_once_telescope_too(shared_world: World):
    """Seven refunds of one trade, asked together: their shares are those of some order."""
    desk = shared_world.desk
    trade = paid_trade(desk, amount_minor=700, fee_minor=11, policy=FeePolicy.RETURN)
    await add(desk, trade)
    made = await asyncio.gather(*(give_back(desk, trade, 100) for _ in range(7)))
    exact = [floor(Fraction(11 * part, 7) + Fraction(1, 2)) for part in range(8)]
    shares = sorted(after - before for before, after in zip(exact, exact[1:], strict=False))
    assert sorted(refund.fee_minor for refund in made) == shares
    assert sum(shares) == 11
