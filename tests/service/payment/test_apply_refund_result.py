"""Apply a refund's result: the payer has the money, or the payment has its amount back."""

import pytest

from payment.flow.apply_refund_result import apply_refund_result
from payment.states import RefundState
from tests.service.payment.scene import (
    cases_of,
    on_behalf_of,
    race,
    refund,
    refund_item,
    seed,
    seed_refund,
    the_payment,
    the_refund,
    together,
    told,
    word,
)

HOLD = "SELECT 1 FROM refund WHERE refund_no = %s FOR UPDATE"


async def hear(desk, attempt, **named):
    """Apply a word as the consumer of channel's events does."""
    with on_behalf_of():
        return await apply_refund_result(desk, attempt=attempt, **named)


OTHER = {"amount_minor": 50}

# What stands, what is said, what stands then, what stays taken, the event, the case.
WORDS = [
    ("processing", "processing", {},    "processing", 60, None,              None),
    ("processing", "succeeded",  {},    "succeeded",  60, "RefundSucceeded", None),
    ("processing", "failed",     {},    "failed",      0, "RefundFailed",    None),
    ("processing", "closed",     {},    "failed",      0, "RefundFailed",    None),
    ("processing", "review",     {},    "review",     60, "RefundReviewed", "AMOUNT_MISMATCH"),
    ("processing", "succeeded",  OTHER, "review",     60, "RefundReviewed", "AMOUNT_MISMATCH"),
    ("succeeded",  "succeeded",  {},    "succeeded",  60, None,              None),
    ("succeeded",  "failed",     {},    "succeeded",  60, None,              None),
    ("succeeded",  "review",     {},    "review",     60, "RefundReviewed", "CHANNEL_REVERSED"),
    ("review",     "succeeded",  {},    "review",     60, None,              None),
    ("review",     "failed",     {},    "review",     60, None,              None),
]  # fmt: skip


@pytest.mark.parametrize(("state", "said", "fields", "then", "taken", "event", "kind"), WORDS)
async def test_every_word_in_every_state(desk, state, said, fields, then, taken, event, kind):
    """Row, answer, event, case and what is taken agree; saying it again changes nothing more."""
    payment_no = await seed(desk, refunded_minor=60)
    refund_no = await seed_refund(desk, payment_no, state=state, attempt_no="A1")
    attempt = word(refund_no, said, **{"amount_minor": 60} | fields)

    answer = await hear(desk, attempt)
    again = await hear(desk, attempt)

    assert (answer.state, again.state) == (then, then)
    assert (await the_refund(desk, refund_no)).state == then
    assert (await the_payment(desk, payment_no)).refunded_minor == taken
    assert await told(desk, refund_no) == ([event] if event else [])
    assert await cases_of(desk, refund_no) == ([(kind, "open")] if kind else [])


async def test_a_late_success_of_a_failed_refund_is_a_case(desk):
    """Its amount was free already and stays so: what becomes of it is a person's to say."""
    payment_no = await seed(desk)
    refund_no = await seed_refund(desk, payment_no, state="failed")

    answer = await hear(desk, word(refund_no, "succeeded", amount_minor=60))

    assert (answer.state, answer.failure_reason) == (RefundState.REVIEW, "LATE_SUCCESS")
    assert (await the_payment(desk, payment_no)).refunded_minor == 0
    assert await cases_of(desk, refund_no) == [("LATE_SUCCESS", "open")]


async def test_a_refund_given_back_twice_is_noticed(desk):
    """Another attempt of the same leg succeeds too."""
    payment_no = await seed(desk, refunded_minor=60)
    refund_no = await seed_refund(desk, payment_no, state="succeeded", attempt_no="A1")

    await hear(desk, word(refund_no, "succeeded", amount_minor=60, attempt_no="A2"))

    assert (await the_refund(desk, refund_no)).state is RefundState.SUCCEEDED
    assert await cases_of(desk, "A2") == [("DUPLICATE_SUCCESS", "open")]


@pytest.mark.parametrize("reason", ["NO_CHANNEL", "ORIGINAL_NOT_FOUND"])
async def test_a_refund_that_no_channel_takes_fails(desk, neighbours, reason):
    """Definite before anything was sent: the amount is free again, the ledger reverses the ask."""
    payment_no = await seed(desk)
    item = refund_item(payment_no, 60)
    neighbours.channel.then(neighbours.channel.refuses(reason))

    answer = await refund(desk, item)

    assert (answer.state, answer.failure_reason) == (RefundState.FAILED, reason)
    assert (await the_payment(desk, payment_no)).refunded_minor == 0
    assert await told(desk, item.refund_no) == ["RefundFailed"]


async def test_a_failure_told_by_ten_replicas_releases_once(replicas, dsn):
    """Of ten that read PROCESSING one gives the amount back; the payment is never overdrawn."""
    desks = await replicas(10)
    payment_no = await seed(desks[0], refunded_minor=100)
    refund_no = await seed_refund(desks[0], payment_no)
    seen = await the_refund(desks[0], refund_no)
    attempt = word(refund_no, "failed", amount_minor=60)
    calls = [hear(desk, attempt, seen=seen) for desk in desks]

    answers = await race(dsn, 10, calls, HOLD, refund_no)

    assert {answer.state for answer in answers} == {RefundState.FAILED}
    assert (await the_payment(desks[0], payment_no)).refunded_minor == 40
    assert await told(desks[0], refund_no) == ["RefundFailed"]


async def test_failures_of_one_payment_at_once_all_release(desk):
    """Five refunds of a payment fail together: none is lost in a batch."""
    payment_no = await seed(desk, refunded_minor=50)
    numbers = [await seed_refund(desk, payment_no, amount_minor=10) for _ in range(5)]

    await together(*[hear(desk, word(no, "failed", amount_minor=10)) for no in numbers])

    assert (await the_payment(desk, payment_no)).refunded_minor == 0


async def test_a_failing_refund_and_a_new_one_of_the_same_payment_do_not_deadlock(replicas, dsn):
    """One takes payment then refund, the other refund then payment; both come through."""
    failing, asking = await replicas(2)
    payment_no = await seed(failing, refunded_minor=60)
    refund_no = await seed_refund(failing, payment_no)
    fails = hear(failing, word(refund_no, "failed", amount_minor=60))
    asks = refund(asking, refund_item(payment_no, 40))
    hold = "SELECT 1 FROM payment WHERE payment_no = %s FOR UPDATE"

    failed, asked = await race(dsn, 2, [fails, asks], hold, payment_no)

    assert (failed.state, asked.state) == (RefundState.FAILED, RefundState.SUCCEEDED)
    assert (await the_payment(failing, payment_no)).refunded_minor == 40
