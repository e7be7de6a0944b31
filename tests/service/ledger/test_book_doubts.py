"""Money in doubt in the books: parked, taken back, owed, accepted, given back; in any order."""

import itertools

import pytest

from ledger.flow.book_duplicate import book_duplicate
from ledger.flow.book_give_back import book_give_back
from ledger.flow.book_payment import book_payment
from ledger.flow.book_refund_failed import book_refund_failed
from ledger.flow.book_refund_review import book_refund_review
from ledger.flow.book_refund_succeeded import book_refund_succeeded
from ledger.flow.book_review import book_review
from mesh.numbers import Kind
from mesh.wire import money
from tests.service.ledger.events import (
    NUMBERS,
    PENDING,
    block,
    booked,
    open_all,
    payment,
    posting,
    refund,
    standing,
)
from tongbao.common.v1 import kinds_pb2
from tongbao.payment.v1 import events_pb2, payment_pb2

PAID = {
    "clearing:sim:CNY": 10_000 - 38,
    "merchant_pending:mer_1:CNY": 9_940,
    "fee_income::CNY": 60,
    "channel_cost::CNY": 38,
}
REVIEW = payment_pb2.Payment.STATE_REVIEW


@pytest.fixture(autouse=True)
async def accounts(desk):
    """A business line with one merchant, one channel and one user."""
    await open_all(desk)


def reviewed(one, kind, **fields):
    """The same payment under review."""
    after = payment_pb2.Payment()
    after.CopyFrom(one)
    after.MergeFrom(payment_pb2.Payment(state=REVIEW, review_kind=kind, **fields))
    return after


def again(one, kind):
    """The same payment, accepted."""
    after = reviewed(one, kind)
    after.state = payment_pb2.Payment.STATE_SUCCEEDED
    after.from_suspense |= kind != "CHANNEL_REVERSED"
    return after


async def test_a_late_success_is_parked_and_accepted(desk):
    """Suspense, then the merchant, with fee and cost as if it had been collected."""
    one = payment(attempt_no=NUMBERS.next(Kind.ATTEMPT))
    for _ in range(2):
        await book_review(desk, reviewed(one, "LATE_SUCCESS"))
    assert await standing(desk) == {"clearing:sim:CNY": 10_000, "suspense::CNY": 10_000}

    for _ in range(2):
        await book_payment(desk, again(one, "LATE_SUCCESS"))
    assert await standing(desk) == PAID


async def test_another_currency_opens_what_it_needs(desk):
    """Nobody foresaw dollars here, and yet they came in."""
    one = payment(attempt_no=NUMBERS.next(Kind.ATTEMPT))
    told = reviewed(one, "AMOUNT_MISMATCH", reported_minor=7, reported_currency_code="USD")
    await book_review(desk, told)
    assert await standing(desk) == {"clearing:sim:USD": 7, "suspense::USD": 7}


async def test_a_second_charge_stands_as_a_duplicate(desk):
    """As a payment that lost, and as a charge beside one that won."""
    one = payment(attempt_no=NUMBERS.next(Kind.ATTEMPT))
    await book_review(desk, reviewed(one, "DUPLICATE_SUCCESS"))
    other = events_pb2.ChargeDuplicated(
        payment=one, attempt_no=NUMBERS.next(Kind.ATTEMPT), amount=money("CNY", 10_000),
        channel_code="sim",
    )  # fmt: skip
    for _ in range(2):
        await book_duplicate(desk, other)
    assert await standing(desk) == {"clearing:sim:CNY": 20_000, "duplicate::CNY": 20_000}


async def test_a_reversal_mirrors_the_success_in_any_order(desk):
    """Also when it is told first: the success is booked before it, once."""
    one = payment()
    back = reviewed(one, "CHANNEL_REVERSED")
    for order in itertools.permutations([(book_payment, one), (book_review, back)]):
        for flow, told in order:
            await flow(desk, told)
        assert await standing(desk) == {}

    await book_payment(desk, again(one, "CHANNEL_REVERSED"))
    assert await standing(desk) == PAID


TOPPED_UP = {
    "clearing:sim:CNY": 10_000 - 38, "wallet:MALL/u1:CNY": 10_000, "channel_cost::CNY": 38,
}  # fmt: skip
TOP_UP = {"trade_type": kinds_pb2.TRADE_TYPE_RECHARGE, "fee_minor": 0, "merchant_id": ""}


@pytest.mark.parametrize(("fields", "paid"), [({}, PAID), (TOP_UP, TOPPED_UP)], ids=["pay", "top"])
async def test_what_was_accepted_late_is_taken_back_from_its_owner(desk, fields, paid):
    """It was never collected, it came out of suspense: told in any order, and twice."""
    for count, order in enumerate(itertools.permutations(range(3))):
        one = payment(attempt_no=NUMBERS.next(Kind.ATTEMPT), **fields)
        accepted = again(one, "LATE_SUCCESS")
        back = reviewed(accepted, "CHANNEL_REVERSED")
        told = [
            (book_review, reviewed(one, "LATE_SUCCESS")),
            (book_payment, accepted),
            (book_review, back),
        ]
        for place in [*order, *order]:
            flow, event = told[place]
            await flow(desk, event)
        assert await standing(desk) == times(paid, count), order

        for _ in range(2):
            await book_payment(desk, again(back, "CHANNEL_REVERSED"))
        assert await standing(desk) == times(paid, count + 1), order


def times(paid, count):
    return {name: much * count for name, much in paid.items() if count}


async def test_who_has_spent_the_money_owes_it(desk):
    """The merchant has refunded it: nothing goes below zero, a receivable stands instead."""
    one = payment()
    await book_payment(desk, one)
    gone = posting("REFUND_ASKED", amount_minor=10_000, fee_minor=60)
    assert await booked(desk, gone) == ["posted"]

    await book_review(desk, reviewed(one, "CHANNEL_REVERSED"))
    assert await standing(desk) == {
        "receivable:mer_1:CNY": 9_940,
        "fee_income::CNY": -60,
        "refund_transit::CNY": 10_000,
    }

    await book_payment(desk, again(one, "CHANNEL_REVERSED"))
    assert "receivable:mer_1:CNY" not in await standing(desk)


async def test_a_recharge_that_is_taken_back_leaves_the_wallet(desk):
    """And comes back to it when a person says so."""
    one = payment(kinds_pb2.TRADE_TYPE_RECHARGE, fee_minor=0, merchant_id="")
    await book_payment(desk, one)
    before = await standing(desk)
    await book_review(desk, reviewed(one, "CHANNEL_REVERSED"))
    assert await standing(desk) == {}
    await book_payment(desk, again(one, "CHANNEL_REVERSED"))
    assert await standing(desk) == before


async def test_money_that_its_accounts_refused_is_taken_back_from_suspense(desk):
    """It never was the merchant's."""
    await block(desk, PENDING, 2)
    one = payment()
    await book_payment(desk, one)
    await book_review(desk, reviewed(one, "CHANNEL_REVERSED"))
    assert await standing(desk) == {}


def give_back(state, source="SUSPENSE", **fields):
    kind = payment_pb2.GiveBack
    return kind(
        give_back_no=NUMBERS.next(Kind.REFUND), app_id="mall", business_code="MALL",
        trace_no="MALL-1", amount=money("CNY", 10_000), channel_code="sim",
        state=kind.State.Value(f"STATE_{state}"), source=kind.Source.Value(f"SOURCE_{source}"),
        **fields,
    )  # fmt: skip


@pytest.mark.parametrize("source", ["SUSPENSE", "DUPLICATE"])
@pytest.mark.parametrize("state", ["SUCCEEDED", "FAILED"])
async def test_a_give_back_leaves_the_books_or_stands_as_before(desk, source, state):
    """Out of transit to the channel, or to where it was parked."""
    one = payment(attempt_no=NUMBERS.next(Kind.ATTEMPT))
    kind = "LATE_SUCCESS" if source == "SUSPENSE" else "DUPLICATE_SUCCESS"
    await book_review(desk, reviewed(one, kind))
    before = await standing(desk)
    back = give_back(state, source)
    asked = posting(f"{source}_RETURN_ASKED", source_no=back.give_back_no)
    assert await booked(desk, asked) == ["posted"]

    for _ in range(2):
        await book_give_back(desk, back)

    assert await standing(desk) == ({} if state == "SUCCEEDED" else before)


async def test_a_refund_that_came_back_waits_in_suspense(desk):
    """退票: then it is the merchant's again, or the payer kept it; told in any order."""
    await booked(desk, posting("COLLECTED"))
    collected = await standing(desk)
    for end, kept in ((book_refund_failed, False), (book_refund_succeeded, True)):
        one = refund()
        asked = posting("REFUND_ASKED", source_no=one.refund_no, amount_minor=5_000, fee_minor=30)
        await booked(desk, asked)
        back, ended = payment_pb2.Refund(), payment_pb2.Refund()
        for message in (back, ended):
            message.CopyFrom(one)
            message.review_kind = "CHANNEL_REVERSED"
        for flow, told in ((book_refund_review, back), (book_refund_succeeded, one), (end, ended)):
            await flow(desk, told)
        now = await standing(desk)
        assert now.get("suspense::CNY", 0) == 0
        spent = collected["merchant_pending:mer_1:CNY"] - now["merchant_pending:mer_1:CNY"]
        assert spent == (4_970 if kept else 0)
