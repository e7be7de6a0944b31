"""Create a refund: who may get how much back, and what is said if not."""

import pytest

from mesh.errors import Malformed, Refused
from mesh.numbers import Kind
from payment.states import RefundState
from tests.service.payment.scene import (
    NUMBERS,
    pay,
    payment_item,
    published,
    race,
    refund,
    refund_item,
    seed,
    the_payment,
    the_refund,
    together,
    told,
)
from tongbao.channel.v1 import attempt_pb2
from tongbao.payment.v1 import events_pb2

HOLD = "SELECT 1 FROM payment WHERE payment_no = %s FOR UPDATE"


async def test_a_refund_succeeds(desk, neighbours):
    """It is funded first, then the channel of the payment gives the money back."""
    item = payment_item(100)
    payment = await pay(desk, item)
    asked = refund_item(payment.payment_no, 60, fee_minor=1)

    answer = await refund(desk, asked)

    assert (answer.state, answer.version, answer.due_time) == (RefundState.SUCCEEDED, 3, None)
    assert (answer.trade_no, answer.merchant_id) == (payment.trade_no, "mer_1")
    assert (answer.trace_no, answer.channel_code) == (payment.trace_no, "sim")
    row = await the_refund(desk, asked.refund_no)
    assert (row.state, row.amount_minor, row.fee_minor) == (RefundState.SUCCEEDED, 60, 1)
    assert (await the_payment(desk, payment.payment_no)).refunded_minor == 60
    [leg] = [one for one in neighbours.channel.asked if one.original_leg_no]
    assert leg.leg_no == f"{asked.refund_no}-1"
    assert leg.original_leg_no == f"{payment.payment_no}-1"
    assert (leg.operation, leg.amount.minor_units) == (attempt_pb2.OPERATION_REFUND, 60)
    [(kind, version, payload)] = await published(desk, asked.refund_no)
    assert (kind, version) == ("RefundSucceeded", 3)
    message = events_pb2.RefundSucceeded.FromString(payload).refund
    assert (message.amount.minor_units, message.fee_minor) == (60, 1)


# Ordered by precedence: each row is also wrong in every way that follows it.
REFUSALS = [
    # payment                                                   asked         reason
    (None,                                                      (61, "USD"), "PAYMENT_NOT_FOUND"),
    ({"app_id": "shop", "state": "failed"},                     (61, "USD"), "PAYMENT_NOT_FOUND"),
    ({"state": "failed", "trade_type": "RECHARGE"},             (61, "CNY"),
     "PAYMENT_NOT_REFUNDABLE"),
    ({"state": "processing"},                                   (61, "CNY"),
     "PAYMENT_NOT_REFUNDABLE"),
    ({"state": "review"},                                       (1, "CNY"),
     "PAYMENT_NOT_REFUNDABLE"),
    ({"trade_type": "RECHARGE"},                                (61, "CNY"),
     "PAYMENT_NOT_REFUNDABLE"),
    ({"trade_type": "RECHARGE"},                                (1, "CNY"),
     "PAYMENT_NOT_REFUNDABLE"),
    ({},                                                        (61, "CNY"),
     "REFUND_EXCEEDS_PAYMENT"),
]  # fmt: skip


@pytest.mark.parametrize(("columns", "asked", "reason"), REFUSALS)
async def test_refusals_come_in_order_of_precedence(desk, neighbours, columns, asked, reason):
    """The first reason that applies wins, and nothing is written."""
    payment_no = NUMBERS.next(Kind.PAYMENT)
    if columns is not None:
        payment_no = await seed(desk, **{"refunded_minor": 40} | columns)
    item = refund_item(payment_no, *asked)

    with pytest.raises(Refused) as refusal:
        await refund(desk, item)

    assert (refusal.value.domain, refusal.value.reason) == ("payment.tongbao", reason)
    assert refusal.value.facts["payment_no"] == payment_no
    assert await the_refund(desk, item.refund_no) is None
    assert neighbours.ledger.asked == []


@pytest.mark.parametrize("columns", [{}, {"refunded_minor": 100, "state": "failed"}], ids=str)
async def test_another_currency_breaks_the_contract(desk, columns):
    """Trade knows the currency: sending another one is its bug, not a refusal."""
    payment_no = await seed(desk, **columns)

    with pytest.raises(Malformed) as error:
        await refund(desk, refund_item(payment_no, 10, "USD"))

    [violation] = error.value.violations.field_violations
    assert violation.field == "amount.currency_code"


async def test_a_reused_number_is_refused_before_anything_else(desk):
    """The same number with other content, even for a payment that does not exist."""
    payment_no = await seed(desk)
    first = refund_item(payment_no, 10)
    await refund(desk, first)

    other = refund_item(NUMBERS.next(Kind.PAYMENT), 10, refund_no=first.refund_no)
    with pytest.raises(Refused) as refusal:
        await refund(desk, other)

    assert (refusal.value.domain, refusal.value.reason) == ("tongbao", "REQUEST_REUSED")
    assert refusal.value.facts == {"field": "refund_no", "number": first.refund_no}


async def test_a_payment_of_another_app_cannot_be_refunded(desk):
    """What would be fine for its owner does not exist for anyone else, and stays as it was."""
    payment_no = await seed(desk, app_id="shop")

    [error] = await together(refund(desk, refund_item(payment_no, 60)))
    await refund(desk, refund_item(payment_no, 100, app_id="shop"))

    assert error.reason == "PAYMENT_NOT_FOUND"
    assert (await the_payment(desk, payment_no, app_id="shop")).refunded_minor == 100


async def test_the_last_cent_can_be_refunded(desk):
    """Asking for exactly what is left leaves nothing."""
    payment_no = await seed(desk, refunded_minor=40)

    await refund(desk, refund_item(payment_no, 60))

    assert (await the_payment(desk, payment_no)).refunded_minor == 100


async def test_a_refusal_does_not_use_the_number_up(desk):
    """What was refused yesterday passes today under the same number."""
    payment_no = await seed(desk, state="processing")
    item = refund_item(payment_no, 10)
    [error] = await together(refund(desk, item))
    sql = "UPDATE payment SET state = 'succeeded', due_time = NULL WHERE payment_no = %(number)s"
    await desk.db.rows(sql, number=payment_no)

    answer = await refund(desk, item)

    assert error.reason == "PAYMENT_NOT_REFUNDABLE"
    assert answer.state is RefundState.SUCCEEDED


@pytest.mark.parametrize("count", [1, 10])
async def test_of_racing_refunds_one_passes(replicas, dsn, neighbours, count):
    """Ten callers race for money that is enough for one; one gets it, nine are told."""
    desks = await replicas(count)
    payment_no = await seed(desks[0])
    items = [refund_item(payment_no, 60) for _ in range(10)]
    calls = [refund(desks[place % count], item) for place, item in enumerate(items)]

    answers = await race(dsn, count, calls, HOLD, payment_no)

    errors = [answer for answer in answers if isinstance(answer, Exception)]
    assert [error.reason for error in errors] == ["REFUND_EXCEEDS_PAYMENT"] * 9
    assert {error.facts["left_minor_units"] for error in errors} == {"40"}
    assert (await the_payment(desks[0], payment_no)).refunded_minor == 60
    assert len(neighbours.channel.asked) == 1


@pytest.mark.parametrize("count", [1, 10])
async def test_the_same_number_is_done_once(replicas, dsn, neighbours, count):
    """Ten copies of one refund for all the money: one refund, one event, ten answers.

    To nine of them nothing is left when they look; they must not be told so.
    """
    desks = await replicas(count)
    payment_no = await seed(desks[0])
    item = refund_item(payment_no, 100)
    calls = [refund(desks[place % count], item) for place in range(10)]

    answers = await race(dsn, count, calls, HOLD, payment_no)

    assert {answer.refund_no for answer in answers} == {item.refund_no}
    assert (await the_payment(desks[0], payment_no)).refunded_minor == 100
    assert await told(desks[0], item.refund_no) == ["RefundSucceeded"]
    assert len(neighbours.channel.asked) == 1


async def test_a_review_that_wins_the_race_stops_the_refund(desk, dsn):
    """The payment leaves SUCCEEDED under our waiting statement, which must look again."""
    payment_no = await seed(desk)
    calls = [refund(desk, refund_item(payment_no, 10))]
    lock = "UPDATE payment SET state = 'review' WHERE payment_no = %s"

    [error] = await race(dsn, 1, calls, lock, payment_no)

    assert (error.reason, error.facts["state"]) == ("PAYMENT_NOT_REFUNDABLE", "REVIEW")


async def test_refunds_of_one_payment_all_count(desk):
    """Ten refunds that all fit, sent at once, are all booked: none is lost in a batch."""
    payment_no = await seed(desk)

    answers = await together(*[refund(desk, refund_item(payment_no, 10)) for _ in range(10)])

    assert {answer.state for answer in answers} == {RefundState.SUCCEEDED}
    assert (await the_payment(desk, payment_no)).refunded_minor == 100
    assert desk.db.sizes()["add_refund"] == {1: 10}


async def test_refunds_of_many_payments_share_a_statement(desk):
    """Each caller gets the answer to its own question, also from a crowded statement."""
    numbers = [await seed(desk, amount_minor=place, fee_minor=0) for place in range(1, 31)]

    answers = await together(*[refund(desk, refund_item(number, 7)) for number in numbers])

    refused, passed = answers[:6], answers[6:]  # Six payments are smaller than 7.
    assert [int(error.facts["left_minor_units"]) for error in refused] == list(range(1, 7))
    assert [answer.payment_no for answer in passed] == numbers[6:]
    assert desk.db.sizes()["add_refund"] == {30: 1}


async def test_a_repetition_shows_the_present_and_drives_nothing(desk, neighbours):
    """A second call for an open refund is answered at once, and nobody is asked again."""
    payment_no = await seed(desk)
    item = refund_item(payment_no, 60)
    neighbours.channel.then(neighbours.channel.breaks_after)
    await refund(desk, item)

    again = await refund(desk, item)

    assert again.state is RefundState.PROCESSING
    assert again == await the_refund(desk, item.refund_no)
    assert (len(neighbours.ledger.asked), len(neighbours.channel.asked)) == (1, 1)
