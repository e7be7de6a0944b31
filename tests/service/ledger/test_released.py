"""Money that its account had refused, let go from suspense: as if nothing had been refused."""

import pytest

from ledger.flow.book_payment import book_payment
from ledger.flow.book_refund_failed import book_refund_failed
from ledger.flow.book_refund_review import book_refund_review
from ledger.flow.book_review import book_review
from ledger.flow.prove_book import prove_book
from mesh.numbers import Kind
from tests.service.ledger.events import (
    NUMBERS,
    SUSPENSE,
    booked,
    open_all,
    posting,
    refund,
    standing,
)
from tests.service.ledger.test_refused_accounts import (
    RECHARGE,
    accepted,
    both,
    done_to,
    opened_again,
    paid,
    refusals,
    reviewed,
    vouchers,
)
from tongbao.payment.v1 import payment_pb2

late = pytest.mark.parametrize("is_late", [False, True])


def never_blocked(trade_type, owner):
    """What every account has of a success that nobody refused, by hand."""
    fees = {} if trade_type == RECHARGE else {"fee_income::CNY": 60}
    return {
        "clearing:sim:CNY": 9_962,
        owner.name: 10_000 - sum(fees.values()),
        "channel_cost::CNY": 38,
    } | fees


def released(one):
    """The payment, once a person has said that its money should go on."""
    after = payment_pb2.Payment()
    after.CopyFrom(one)
    after.release_no = NUMBERS.next(Kind.PAYMENT)
    return after


async def refused(desk, trade_type, owner, *, is_late):
    """Return a payment whose account took no credits, `is_late` out of suspense."""
    await open_all(desk)
    await done_to(desk, "status = 2", owner.kind)
    one = paid(trade_type)
    if is_late:
        await book_review(desk, reviewed(one, "LATE_SUCCESS"))
        one = accepted(one, "LATE_SUCCESS")
    await book_payment(desk, one)
    assert (await standing(desk))[SUSPENSE.name] == 10_000
    return one


async def proved(desk):
    assert (await prove_book(desk)).findings == []


@both
@late
async def test_what_is_released_is_as_if_nobody_had_refused_it(desk, trade_type, owner, is_late):
    """Account by account, with the cost once, whether or not it was booked with the refusal."""
    one = await refused(desk, trade_type, owner, is_late=is_late)
    await opened_again(desk)
    going = released(one)

    for event in (going, one, going):
        await book_payment(desk, event)

    assert await standing(desk) == never_blocked(trade_type, owner)
    assert len(await refusals(desk)) == 1
    await proved(desk)


@both
@late
async def test_a_channel_takes_back_what_was_released_from_whoever_has_it(
    desk, trade_type, owner, is_late
):
    """冲正 before anybody has booked the release; and all stands when that was wrong."""
    one = released(await refused(desk, trade_type, owner, is_late=is_late))
    await opened_again(desk)

    for _ in range(2):
        await book_review(desk, reviewed(one, "CHANNEL_REVERSED"))
    assert await standing(desk) == {}

    for _ in range(2):
        await book_payment(desk, accepted(one, "CHANNEL_REVERSED"))
    assert await standing(desk) == never_blocked(trade_type, owner)
    assert len(await refusals(desk)) == 1
    await proved(desk)


@both
@late
async def test_a_release_that_is_refused_leaves_the_money_in_suspense(
    desk, trade_type, owner, is_late
):
    """For good under its number: a channel takes it back from there, and another number is free."""
    one = released(await refused(desk, trade_type, owner, is_late=is_late))
    before = await standing(desk)
    await book_payment(desk, one)
    await opened_again(desk)
    await book_payment(desk, one)
    assert await standing(desk) == before
    assert len(await refusals(desk)) == 1

    await book_payment(desk, released(one))
    assert await standing(desk) == never_blocked(trade_type, owner)

    other = released(await refused(desk, trade_type, owner, is_late=is_late))
    await book_review(desk, reviewed(other, "CHANNEL_REVERSED"))
    assert await standing(desk) == never_blocked(trade_type, owner)
    await proved(desk)


@both
@late
async def test_what_comes_back_to_suspense_is_told_once_more(desk, trade_type, owner, is_late):
    """A person may be done with it by then; with the cost it is as if nobody had refused it."""
    one = await refused(desk, trade_type, owner, is_late=is_late)
    await book_review(desk, reviewed(one, "CHANNEL_REVERSED"))
    assert await standing(desk) == {}

    for _ in range(2):
        await book_payment(desk, accepted(one, "CHANNEL_REVERSED"))

    assert (await standing(desk))[SUSPENSE.name] == 10_000
    assert len(await refusals(desk)) == 2
    assert (await refusals(desk))[-1] == ("SUSPENSE_RESTORED", "REFUSED_BEFORE")
    await opened_again(desk)
    template = "SUSPENSE_RECHARGED" if trade_type == RECHARGE else "SUSPENSE_COLLECTED"
    cost_minor = 38 if is_late else 0
    assert await booked(desk, posting(template, cost_minor=cost_minor)) == ["posted"]
    assert await standing(desk) == never_blocked(trade_type, owner)
    await proved(desk)


@both
async def test_what_was_restored_into_suspense_is_released_without_cost(desk, trade_type, owner):
    """Its cost came back with it. A later event of the payment has no number, and moves nothing."""
    await open_all(desk)
    one = paid(trade_type)
    await book_payment(desk, one)
    await book_review(desk, reviewed(one, "CHANNEL_REVERSED"))
    await done_to(desk, "status = 2", owner.kind)
    await book_payment(desk, accepted(one, "CHANNEL_REVERSED"))
    await opened_again(desk)
    template = "SUSPENSE_RECHARGED" if trade_type == RECHARGE else "SUSPENSE_COLLECTED"

    assert await booked(desk, posting(template, cost_minor=0)) == ["posted"]

    await book_payment(desk, accepted(one, "CHANNEL_REVERSED"))
    assert await standing(desk) == never_blocked(trade_type, owner)
    await proved(desk)


@pytest.mark.parametrize("came_back", [False, True])
async def test_a_failed_refund_that_is_released_is_as_if_nobody_had_refused_it(desk, came_back):
    """To merchant and fee, as the ask took it: out of transit, or after a 退票."""
    await open_all(desk)
    one = refund(failure_reason="CHANNEL_REFUSED")
    whole = {"amount_minor": 5_000, "fee_minor": 30}
    await booked(desk, posting("COLLECTED"))
    collected = await standing(desk)
    await booked(desk, posting("REFUND_ASKED", source_no=one.refund_no, **whole))
    if came_back:
        await booked(desk, posting("REFUND_SUCCEEDED", source_no=one.refund_no, **whole))
        one.review_kind = "CHANNEL_REVERSED"
        await book_refund_review(desk, one)
    await done_to(desk, "status = 2", "merchant_pending")
    await book_refund_failed(desk, one)
    await opened_again(desk)

    assert await booked(desk, posting("REFUND_RETURN_CREDITED", **whole)) == ["posted"]

    await book_refund_failed(desk, one)
    assert await standing(desk) == collected
    assert (await vouchers(desk))[-1] == "REFUND_RETURN_CREDITED"
    await proved(desk)
