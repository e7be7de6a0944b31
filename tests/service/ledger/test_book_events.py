"""What payment says becomes entries, once, whatever comes twice or in whichever order."""

import asyncio

import pytest

from ledger.flow.book_payment import book_payment
from ledger.flow.book_refund_failed import book_refund_failed
from ledger.flow.book_refund_succeeded import book_refund_succeeded
from ledger.flow.book_review import book_review
from tests.service.ledger.events import (
    CLEARING,
    PENDING,
    SUSPENSE,
    WALLET,
    block,
    booked,
    open_all,
    payment,
    posting,
    published,
    refund,
    standing,
)
from tongbao.common.v1 import kinds_pb2
from tongbao.ledger.v1 import events_pb2


async def vouchers(desk):
    """Return (template, source) of what was booked, in order."""
    rows = await desk.db.rows("SELECT template, source_no FROM voucher ORDER BY seq")
    return [tuple(row) for row in rows]


async def test_a_collection_is_owed_to_the_merchant(desk):
    """Net to the merchant, the fee to us, the cost to the channel."""
    await open_all(desk)
    paid = payment(user_no="")

    await asyncio.gather(*(book_payment(desk, paid) for _ in range(3)))

    assert await vouchers(desk) == [("COLLECTED", paid.payment_no)]
    assert await standing(desk) == {
        CLEARING.name: 9_962,
        PENDING.name: 9_940,
        "fee_income::CNY": 60,
        "channel_cost::CNY": 38,
    }
    [row] = await desk.db.rows("SELECT app_id, trace_no, amount_minor FROM voucher")
    assert tuple(row) == ("mall", "MALL-1", 10_000)


async def test_a_recharge_is_owed_to_the_wallet(desk):
    """All of it; there is no merchant who could pay a fee."""
    await open_all(desk)
    paid = payment(kinds_pb2.TRADE_TYPE_RECHARGE, merchant_id="", fee_minor=0)

    await book_payment(desk, paid)

    assert await vouchers(desk) == [("RECHARGED", paid.payment_no)]
    assert (await standing(desk))[WALLET.name] == 10_000


async def test_a_booking_that_came_first_by_a_call_exists(desk):
    """A refund brings the payment's own booking along, because this event may be late."""
    await open_all(desk)
    paid = payment()
    assert await booked(desk, posting("COLLECTED", source_no=paid.payment_no)) == ["posted"]

    await book_payment(desk, paid)

    assert await vouchers(desk) == [("COLLECTED", paid.payment_no)]


async def test_money_its_accounts_refuse_stands_in_suspense(desk):
    """It came in all the same; a person is called, once, and told why."""
    await open_all(desk)
    await block(desk, PENDING, 2)
    paid = payment()

    for _ in range(3):
        await book_payment(desk, paid)

    assert await vouchers(desk) == [("COLLECT_SUSPENDED", paid.payment_no)]
    assert await standing(desk) == {
        CLEARING.name: 9_962,
        SUSPENSE.name: 10_000,
        "channel_cost::CNY": 38,
    }
    [told] = await published(desk, events_pb2.PostingRefused)
    assert told.refusal == "CREDIT_ACCOUNT_BLOCKED"
    assert (told.posting.template, told.posting.source_no) == ("COLLECTED", paid.payment_no)
    assert told.posting.amount.minor_units == 10_000
    assert (told.posting.fee_minor, told.posting.merchant_id) == (60, "mer_1")
    [voucher] = await published(desk, events_pb2.VoucherPosted)
    assert voucher.voucher.template == "COLLECT_SUSPENDED"


async def test_a_step_that_died_in_the_middle_is_finished(desk):
    """Refused, and then nothing: the event comes again and finds the first reason."""
    await open_all(desk)
    await block(desk, PENDING, 2)
    paid = payment()
    refused = await booked(desk, posting("COLLECTED", source_no=paid.payment_no))
    assert refused == ["refused CREDIT_ACCOUNT_BLOCKED"]
    await block(desk, PENDING, 0)

    await book_payment(desk, paid)

    assert await vouchers(desk) == [("COLLECT_SUSPENDED", paid.payment_no)]
    [told] = await published(desk, events_pb2.PostingRefused)
    assert told.refusal == "CREDIT_ACCOUNT_BLOCKED"


async def test_money_that_was_booked_is_not_suspended_too(desk):
    """An event with other facts than the booking is a bug, and breaks."""
    await open_all(desk)
    paid = payment()
    await book_payment(desk, paid)

    with pytest.raises(AssertionError, match="was booked with other facts"):
        await book_payment(desk, payment(payment_no=paid.payment_no, cost_minor=39))

    assert await vouchers(desk) == [("COLLECTED", paid.payment_no)]


@pytest.mark.parametrize(("reported_minor", "suspended"), [(9_000, 9_000), (0, 10_000)])
async def test_a_payment_under_review_stands_in_suspense(desk, reported_minor, suspended):
    """At the amount the channel says was charged; at ours when it says the same."""
    await open_all(desk)
    reviewed = payment(reported_minor=reported_minor)

    await book_review(desk, reviewed)
    await book_review(desk, reviewed)

    assert await vouchers(desk) == [("MISMATCH_SUSPENDED", reviewed.payment_no)]
    assert await standing(desk) == {CLEARING.name: suspended, SUSPENSE.name: suspended}


async def test_a_refund_that_arrived_left_transit(desk):
    """The channel paid it out of what it owes us."""
    await open_all(desk)
    asked = refund()
    whole = {"source_no": asked.refund_no, "amount_minor": 5_000, "fee_minor": 30}
    await booked(desk, posting("COLLECTED"), posting("REFUND_ASKED", **whole))

    await book_refund_succeeded(desk, asked)
    await book_refund_succeeded(desk, asked)

    stands = await standing(desk)
    assert stands[CLEARING.name] == 9_962 - 5_000
    assert stands[PENDING.name] == 9_940 - 4_970
    assert stands["fee_income::CNY"] == 30
    assert "refund_transit::CNY" not in stands


async def test_a_refund_that_failed_is_given_back(desk):
    """To the merchant and to us, as it was taken."""
    await open_all(desk)
    asked = refund(failure_reason="CHANNEL_REFUSED")
    whole = {"source_no": asked.refund_no, "amount_minor": 5_000, "fee_minor": 30}
    await booked(desk, posting("COLLECTED"))
    before = await standing(desk)
    await booked(desk, posting("REFUND_ASKED", **whole))

    await book_refund_failed(desk, asked)
    await book_refund_failed(desk, asked)

    assert await standing(desk) == before


@pytest.mark.parametrize("status", [2, 4])
async def test_a_failed_refund_whose_merchant_takes_no_credits_waits_in_suspense(desk, status):
    """Blocked 止收 or closed meanwhile: nothing stays in transit, and it is booked once."""
    await open_all(desk)
    asked = refund(failure_reason="CHANNEL_REFUSED")
    whole = {"source_no": asked.refund_no, "amount_minor": 5_000, "fee_minor": 30}
    await booked(desk, posting("COLLECTED"), posting("REFUND_ASKED", **whole))
    await block(desk, PENDING, status)

    await book_refund_failed(desk, asked)
    await block(desk, PENDING, 0)
    await book_refund_failed(desk, asked)

    stands = await standing(desk)
    assert stands[SUSPENSE.name] == 5_000
    assert stands[PENDING.name] == 9_940 - 4_970
    assert "refund_transit::CNY" not in stands


async def test_a_refund_that_was_never_taken_is_not_given_back(desk):
    """No money had left the merchant, so none returns."""
    await open_all(desk)
    await booked(desk, posting("COLLECTED"))
    before = await standing(desk)

    await book_refund_failed(desk, refund(failure_reason="REFUND_UNFUNDED"))

    assert await standing(desk) == before


@pytest.mark.parametrize("end", [book_refund_succeeded, book_refund_failed])
async def test_a_refund_nobody_asked_for_breaks(desk, end):
    """Transit is empty: money that never left cannot arrive. A person must look."""
    await open_all(desk)

    with pytest.raises(AssertionError, match="EXCEEDS_FLOOR"):
        await end(desk, refund())
