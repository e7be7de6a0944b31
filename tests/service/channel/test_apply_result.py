"""The one door for results: once, in any order, checked."""

import asyncio

import psycopg
import pytest

from channel.adapters.spi import Outcome, Result
from channel.calls import end
from channel.desk import opened
from channel.flow.apply_result import apply_result
from channel.flow.inquire_attempt import inquire_attempt
from channel.store.attempt import find_attempt
from channel.verdicts import Source
from tests.service.channel.world import REVIEW, World, leg, refund_of
from tests.waiting import eventually
from tongbao.channel.v1 import attempt_pb2
from tongbao.channel.v1 import events_pb2 as events

_LOCK = "SELECT 1 FROM attempt WHERE attempt_no = %s FOR UPDATE"


async def unpaid(world: World, **wanted: object) -> attempt_pb2.Attempt:
    """An attempt of which the provider will say nothing until the test speaks for it."""
    await world.simulator.rule("lost_callback", op="charge")
    return await world.attempted(leg(**wanted))


async def test_three_callbacks_at_once_make_one_event(world: World) -> None:
    """The provider repeats itself; one row counts the copies, one of them has an effect."""
    await world.simulator.rule("triple_callback", op="charge", amount_minor=1000)

    attempt = await world.attempted(leg())

    await eventually(lambda: [copies for _, copies in _callbacks(world, attempt)] == [3])
    await world.until(attempt.attempt_no, "succeeded")
    await world.settled()
    assert len(world.handle.published(events.AttemptSucceeded)) == 1


async def test_another_amount_goes_to_review_with_what_was_reported(world: World) -> None:
    """Acknowledged, for the provider cannot help it; never a success."""
    await world.simulator.rule("wrong_amount", op="charge", amount_minor=1000)

    attempt = await world.attempted(leg())

    await world.until(attempt.attempt_no, "review")
    [told] = world.handle.published(events.AttemptReviewed)
    assert (told.attempt.state, told.attempt.reported_minor) == (REVIEW, 1001)
    assert told.attempt.failure_reason == "AMOUNT_MISMATCH"
    assert world.handle.published(events.AttemptSucceeded) == []
    await world.settled()
    assert len(_callbacks(world, attempt)) == 1  # It came once: we said OK to it.


async def test_another_currency_goes_to_review(world: World) -> None:
    """The same figure in yen is not the same money."""
    attempt = await unpaid(world)

    assert await world.say(attempt, currency="JPY") == 200

    await world.until(attempt.attempt_no, "review")
    assert world.row(attempt.attempt_no, "failure_reason") == ("CURRENCY_MISMATCH",)


@pytest.mark.parametrize("first", ["FAILED", "CLOSED"])
async def test_a_success_after_the_end_goes_to_review(world: World, first: str) -> None:
    """It is recorded and told, and does not become a success by itself."""
    attempt = await unpaid(world)
    assert await world.say(attempt, state=first) == 200
    await world.until(attempt.attempt_no, first.lower())

    assert await world.say(attempt) == 200

    await world.until(attempt.attempt_no, "review")
    [failed] = world.handle.published(events.AttemptFailed)
    [reviewed] = world.handle.published(events.AttemptReviewed)
    assert reviewed.attempt.failure_reason == "LATE_SUCCESS"
    assert reviewed.attempt.version == failed.attempt.version + 1


async def test_a_refusal_after_success_goes_to_review(world: World) -> None:
    """A refund that came back 退票."""
    paid, _ = await world.paid()
    refund = await world.attempted(refund_of(paid))
    await world.until(refund.attempt_no, "succeeded")

    assert await world.say(refund, state="FAILED", kind="refund") == 200

    await world.until(refund.attempt_no, "review")
    [told] = world.handle.published(events.AttemptReviewed)
    assert told.attempt.failure_reason == "CHANNEL_REVERSED"


async def test_words_that_end_nothing_leave_a_final_attempt_alone(world: World) -> None:
    """A pending callback that comes late, and one of a state nobody knows."""
    _, attempt = await world.paid()
    before = world.row(attempt.attempt_no, "state, version, due_time")

    assert await world.say(attempt, state="PENDING") == 200
    assert await world.say(attempt, state="THAWED") == 200

    await eventually(lambda: len(_callbacks(world, attempt)) == 3)
    await world.settled()
    assert world.row(attempt.attempt_no, "state, version, due_time") == before


async def test_a_callback_and_a_query_at_once_make_one_event(world: World) -> None:
    """Two replicas stand before the row's lock with the same success, then are let go."""
    attempt = await unpaid(world)
    await world.paid_there(attempt)
    async with (
        world.ground.run("channel", replica=1, http_port=0) as other,
        opened(other.runtime) as desk,
    ):
        known = await find_attempt(desk.db, attempt.attempt_no, app_id="mall")
        with psycopg.connect(world.handle.dsn) as third:
            third.execute(_LOCK, [attempt.attempt_no])
            query = asyncio.create_task(inquire_attempt(desk, known))
            assert await world.say(attempt) == 200  # Acknowledged all the same.
            await eventually(lambda: world.waiting_for_locks() == 2)
            assert world.state(attempt.attempt_no) == "processing"
            third.rollback()
        await query
        await world.settled()

    assert world.row(attempt.attempt_no, "state, version") == ("succeeded", attempt.version + 1)
    assert len(world.handle.published(events.AttemptSucceeded)) == 1


async def test_words_that_contradict_each_other_at_once_end_in_review(world: World) -> None:
    """Whoever loses the race for the row reads it anew and judges again."""
    attempt = await unpaid(world)
    async with (
        world.ground.run("channel", replica=1, http_port=0) as other,
        opened(other.runtime) as desk,
    ):
        known = await find_attempt(desk.db, attempt.attempt_no, app_id="mall")
        refused = Result(outcome=Outcome.FAILED, code="REFUSED")
        with psycopg.connect(world.handle.dsn) as third:
            third.execute(_LOCK, [attempt.attempt_no])
            query = asyncio.create_task(apply_result(desk, known, refused, source=Source.QUERY))
            await eventually(lambda: world.waiting_for_locks() == 1)  # The refusal comes first.
            assert await world.say(attempt) == 200
            await eventually(lambda: world.waiting_for_locks() == 2)
            third.rollback()
        await query
        await world.settled()

    assert world.state(attempt.attempt_no) == "review"
    assert _told(world) == [0, 1, 1]


@pytest.mark.parametrize(
    ("source", "denied"),
    [
        (Source.CLOSE, Outcome.CLOSED),
        (Source.QUERY, Outcome.CLOSED),
        (Source.QUERY, Outcome.FAILED),
    ],
)
async def test_an_answer_that_crossed_the_success_is_asked_again(
    world: World, source: Source, denied: Outcome
) -> None:
    """The provider closed it, and then the payer paid: the answer to the close comes second."""
    attempt = await unpaid(world)
    async with (
        world.ground.run("channel", replica=1, http_port=0) as other,
        opened(other.runtime) as desk,
    ):
        known = await find_attempt(desk.db, attempt.attempt_no, app_id="mall")
        await world.paid_there(attempt)
        assert await world.say(attempt) == 200
        await world.until(attempt.attempt_no, "succeeded")

        after = await apply_result(desk, known, Result(outcome=denied), source=source)

    assert after.state == "succeeded"
    assert _told(world) == [1, 0, 0]


async def test_an_answer_that_denies_the_success_once_more_goes_to_review(world: World) -> None:
    """Asked after the success was known: now it is a contradiction."""
    await world.simulator.rule("never_paid", op="charge")
    attempt = await world.attempted(leg())
    async with (
        world.ground.run("channel", replica=1, http_port=0) as other,
        opened(other.runtime) as desk,
    ):
        known = await find_attempt(desk.db, attempt.attempt_no, app_id="mall")
        assert (await end(desk, known)).outcome is Outcome.CLOSED
        assert await world.say(attempt) == 200
        await world.until(attempt.attempt_no, "succeeded")

        closed = Result(outcome=Outcome.CLOSED)
        after = await apply_result(desk, known, closed, source=Source.CLOSE)

    assert (after.state, after.failure_reason) == ("review", "CHANNEL_REVERSED")
    assert _told(world) == [1, 0, 1]


def _told(world: World) -> list[int]:
    """Return how many successes, ends and reviews were told."""
    kinds = (events.AttemptSucceeded, events.AttemptFailed, events.AttemptReviewed)
    return [len(world.handle.published(kind)) for kind in kinds]


async def test_the_database_refuses_what_the_table_does_not_say(world: World) -> None:
    """The second guard behind the flows."""
    _, attempt = await world.paid()

    with pytest.raises(psycopg.errors.RaiseException, match="illegal move succeeded -> failed"):
        world.handle.rows(
            "UPDATE attempt SET state = 'failed' WHERE attempt_no = %(no)s", no=attempt.attempt_no
        )


def _callbacks(world: World, attempt: attempt_pb2.Attempt) -> list[tuple]:
    return world.handle.rows(
        "SELECT verdict, copies FROM callback WHERE attempt_no = %(no)s",
        no=attempt.attempt_no,
    )
