"""A word that was judged is not judged again: whoever repeats it, the judgement stands."""

import pytest

from tests.service.payment.neighbours import Neighbours
from tests.service.payment.office import Office
from tongbao.channel.v1 import attempt_pb2
from tongbao.payment.v1 import case_pb2, events_pb2

SUCCEEDED = attempt_pb2.Attempt.STATE_SUCCEEDED
FAILED = attempt_pb2.Attempt.STATE_FAILED
REVIEW = attempt_pb2.Attempt.STATE_REVIEW
ACCEPT, GIVE_BACK = case_pb2.RESOLUTION_ACCEPT, case_pb2.RESOLUTION_GIVE_BACK
REVERSED = {"failure_reason": "CHANNEL_REVERSED"}
LATE = {"failure_reason": "LATE_SUCCESS"}
ANOTHER = {"failure_reason": "AMOUNT_MISMATCH", "reported_minor": 90}


@pytest.fixture
async def office(ground):
    """The service, with neighbours who do what they are asked."""
    async with (
        Neighbours(ground.settings("payment").socket_dir),
        ground.run("payment") as handle,
    ):
        yield Office(ground, handle)


# Where it stands, what channel says of its attempt in turn, what is decided, where it stays.
JUDGED = [
    ("processing", [(SUCCEEDED, {}), (REVIEW, REVERSED)], ACCEPT, "succeeded"),
    ("processing", [(SUCCEEDED, {}), (REVIEW, REVERSED)], GIVE_BACK, "closed"),
    ("processing", [(FAILED, {}), (REVIEW, LATE)], ACCEPT, "succeeded"),
    ("processing", [(FAILED, {}), (REVIEW, LATE)], GIVE_BACK, "closed"),
    ("processing", [(REVIEW, ANOTHER)], GIVE_BACK, "closed"),
    ("failed", [(SUCCEEDED, {})], ACCEPT, "succeeded"),
    ("failed", [(SUCCEEDED, {})], GIVE_BACK, "closed"),
]


@pytest.mark.parametrize(("stands", "words", "resolution", "then"), JUDGED)
async def test_what_was_judged_stays_when_channel_is_heard_again(
    office, stands, words, resolution, then
):
    """All of its words come anew, in their order and in the other one: nothing is told or done."""
    due_time = "2100-01-01" if stands == "processing" else None
    payment_no = office.seed(state=stands, due_time=due_time)
    for state, fields in words:
        await office.says(payment_no, state, **fields)
    case = await office.decide(await office.only_case(), resolution)
    await office.until(payment_no, then)
    before = everything(office)

    for state, fields in [*words, *words[::-1]]:
        await office.says(payment_no, state, **fields)

    assert everything(office) == before
    assert case.state == case_pb2.Case.STATE_RESOLVED


@pytest.mark.parametrize(("resolution", "then"), [(ACCEPT, "succeeded"), (GIVE_BACK, "failed")])
async def test_what_was_judged_of_a_refund_stays(office, resolution, then):
    """退票 that is told again: the merchant has no claim twice, and the payer keeps what he has."""
    payment_no = office.seed(state="succeeded", refunded_minor=60)
    refund_no = office.seed_refund(payment_no, state="processing", due_time="2100-01-01")
    words = [(SUCCEEDED, {}), (REVIEW, REVERSED)]
    for state, fields in words:
        await office.says(refund_no, state, amount_minor=60, **fields)
    await office.decide(await office.only_case(), resolution)
    await office.until(refund_no, then, table="refund")
    before = everything(office)

    for state, fields in [*words, *words[::-1]]:
        await office.says(refund_no, state, amount_minor=60, **fields)

    assert everything(office) == before


async def test_a_success_that_was_accepted_late_may_be_taken_back(office):
    """That is another word: a case of its own, and the ledger learns where the money stood."""
    payment_no = office.seed()
    await office.says(payment_no, SUCCEEDED)
    await office.decide(await office.only_case(), ACCEPT)

    await office.says(payment_no, REVIEW, **REVERSED)

    await office.until(payment_no, "review")
    case = await office.only_case(kinds=["CHANNEL_REVERSED"])
    [*_, told] = office.handle.published(events_pb2.PaymentReviewed)
    assert (told.payment.review_kind, told.payment.from_suspense) == ("CHANNEL_REVERSED", True)

    await office.decide(case, ACCEPT)

    [*_, won] = office.handle.published(events_pb2.PaymentSucceeded)
    assert (won.payment.review_kind, won.payment.from_suspense) == ("CHANNEL_REVERSED", True)


async def test_only_what_was_accepted_out_of_suspense_came_from_there(office):
    """A reversal that was wrong, or money that was given back, never stood there for its owner."""
    reversed_no, late_no = office.seed(state="succeeded"), office.seed()
    await office.says(reversed_no, REVIEW, **REVERSED)
    await office.decide(await office.case_of(reversed_no), ACCEPT)
    await office.says(late_no, SUCCEEDED)
    await office.decide(await office.case_of(late_no), GIVE_BACK)

    await office.until(reversed_no, "succeeded")
    await office.until(late_no, "closed")
    assert office.handle.rows("SELECT DISTINCT from_suspense FROM payment") == [(False,)]


def everything(office):
    """Orders, cases with their history, and what was told."""
    rows = office.handle.rows
    return (
        rows("SELECT payment_no, state, version, review_kind FROM payment ORDER BY 1"),
        rows("SELECT refund_no, state, version, review_kind FROM refund ORDER BY 1"),
        rows("SELECT kind, number, state, version FROM exception_case ORDER BY 1, 2"),
        rows("SELECT count(*) FROM outbox"),
        rows("SELECT count(*) FROM dead_letter"),
    )
