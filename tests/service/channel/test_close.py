"""Closing a leg: nothing is sent again, the provider has the last word, and it is kept at."""

import asyncio

from channel.desk import opened
from channel.flow._legs import first_attempt
from channel.flow.close import close
from channel.flow.submit import _carry_out
from channel.store.attempt import open_leg
from channel.wire import leg_of
from mesh.context import Acting, acting_as
from tests.service.channel.world import (
    BALANCE,
    CLOSED,
    FAILED,
    PROCESSING,
    REFUND,
    SUCCEEDED,
    World,
    leg,
)
from tests.services import holding
from tests.waiting import eventually
from tongbao.channel.v1 import events_pb2 as events

NEVER_PAID, PAYER_PAYING, PAID_AFTER_CLOSE = "never_paid", "payer_paying", "paid_after_close"


async def waiting(world: World, fault: str = NEVER_PAID):
    """A leg whose payer has a code and does not come, and its attempt."""
    await world.simulator.rule(fault, op="charge")
    item = leg()
    attempt = await world.attempted(item)
    assert (attempt.state, bool(attempt.qr_code)) == (PROCESSING, True)
    return item, attempt


async def test_a_code_that_nobody_scanned_is_closed_at_the_provider(world: World) -> None:
    """CLOSED there and here, with one event; closing it again says the same."""
    item, attempt = await waiting(world)

    closed = (await world.closed(item)).attempt

    assert (closed.attempt_no, closed.state, closed.qr_code) == (attempt.attempt_no, CLOSED, "")
    assert [row["state"] for row in await world.truth(attempt.attempt_no)] == ["CLOSED"]
    [told] = world.handle.published(events.AttemptFailed)
    assert (told.attempt.attempt_no, told.attempt.state) == (attempt.attempt_no, CLOSED)
    again, late = (await world.closed(item)).attempt, (await world.submit(item)).attempt
    assert again == late
    assert (again.version, again.state) == (closed.version, CLOSED)
    assert world.row(attempt.attempt_no, "due_time") == (None,)


async def test_what_was_paid_before_is_paid(world: World) -> None:
    """The provider says ALREADY_PAID; the question after it says how much."""
    await world.simulator.rule("lost_callback", op="charge")
    item = leg()
    attempt = await world.attempted(item)
    await world.paid_there(attempt)

    result = (await world.closed(item)).attempt

    assert (result.attempt_no, result.state) == (attempt.attempt_no, SUCCEEDED)
    assert len(world.handle.published(events.AttemptSucceeded)) == 1


async def test_a_payer_who_is_paying_refuses_and_the_attempt_is_wanted_again(world: World) -> None:
    """Nothing is closed, and nothing goes on closing; closed later, it is closed."""
    item, attempt = await waiting(world)
    await world.simulator.rule(PAYER_PAYING, op="close", number=attempt.attempt_no)

    result = await world.closed(item)

    assert (result.status.reason, result.status.metadata["leg_no"]) == (
        "PAYER_IS_PAYING",
        item.leg_no,
    )
    assert world.row(attempt.attempt_no, "state, closing") == ("processing", False)
    assert [row["state"] for row in await world.truth(attempt.attempt_no)] == ["PENDING"]
    assert (await world.closed(item)).attempt.state == CLOSED


async def test_a_payer_who_pays_while_somebody_closes_has_paid(world: World) -> None:
    """Whether the close is refused or finds the money depends on who is quicker; paid it is."""
    item, attempt = await waiting(world, PAYER_PAYING)
    result = await world.closed(item)
    assert result.status.reason == "PAYER_IS_PAYING" or result.attempt.state == SUCCEEDED
    await world.until(attempt.attempt_no, "succeeded")


async def test_a_silent_provider_leaves_it_open_and_inquiry_closes_it(world: World) -> None:
    """Answered PROCESSING in time; the wish is in the row, and it is closed when it speaks."""
    item, attempt = await waiting(world)
    await world.simulator.hang(on=True)

    result = (await world.closed(item, seconds=1)).attempt

    assert result.state == PROCESSING
    assert world.row(attempt.attempt_no, "closing, due_time IS NOT NULL") == (True, True)
    [entry] = await world.entries("MALL-1")
    assert entry.facts["closing"] == "true"
    await world.simulator.hang(on=False)
    await world.handle.shift("1 hour")
    await world.until(attempt.attempt_no, "closed")
    assert len(world.handle.published(events.AttemptFailed)) == 1


async def test_a_close_whose_reply_is_lost_is_found_by_asking(world: World) -> None:
    """It was closed; the signature of the reply is wrong; the query is believed."""
    item, attempt = await waiting(world)
    await world.simulator.rule("bad_signature", op="close", number=attempt.attempt_no)
    assert (await world.closed(item)).attempt.state == CLOSED


async def test_a_request_that_never_came_is_not_sent_again_once_nobody_wants_it(
    world: World,
) -> None:
    """Within its grace nobody can say; after it the attempt has failed, unsent."""
    await world.simulator.rule("reset", op="charge")
    item = leg()
    attempt = await world.attempted(item)

    assert (await world.closed(item)).attempt.state == PROCESSING
    assert await world.truth(attempt.attempt_no) == []
    await world.handle.shift("15 seconds")

    await world.until(attempt.attempt_no, "failed")
    assert world.row(attempt.attempt_no, "sends, failure_reason") == (1, "NOT_FOUND")
    assert await world.truth(attempt.attempt_no) == []


async def test_a_leg_that_was_never_submitted_is_written_down_as_closed(world: World) -> None:
    """Submitted later it is answered so, and no provider hears of it."""
    item = leg()

    closed = (await world.closed(item)).attempt

    assert (closed.state, closed.failure_reason) == (CLOSED, "NEVER_SENT")
    assert (await world.submit(item)).attempt == closed
    assert await world.truth(closed.attempt_no) == []
    assert world.row(closed.attempt_no, "sends, due_time") == (0, None)


async def test_closing_and_submitting_at_once_charge_nobody_or_close_what_was_sent(
    world: World,
) -> None:
    """Both wait for the key of the leg, each is first once. In the end it is closed."""
    await world.simulator.rule(NEVER_PAID, op="charge", amount_minor=4321, times=2)
    for is_submit_first in (True, False):
        item = leg(amount_minor=4321)
        calls = [world.submit(item), world.closed(item)]
        tasks = []
        async with holding(world.handle.dsn, "LOCK TABLE attempt_leg IN SHARE MODE"):
            for call in calls if is_submit_first else reversed(calls):
                tasks.append(asyncio.create_task(call))
                await world.handle.blocked(1)
        results = await asyncio.gather(*tasks)
        assert not any(result.status.reason for result in results)
        [[attempt_no, *_]] = world.attempts(item.leg_no)
        await eventually(lambda number=attempt_no: world.state(number) in ("closed", "failed"))
        assert all(row["state"] == "CLOSED" for row in await world.truth(attempt_no))


async def test_an_attempt_that_is_closing_goes_to_no_other_channel(world: World) -> None:
    """The first provider is not reached after the leg was marked: it has failed for good."""
    await world.simulator.outage(on=True)
    item = leg()
    wanted = leg_of(item)
    async with opened(world.handle.runtime) as desk:
        with acting_as(Acting(app_id="mall", trace_no="MALL-1")):
            first = await first_attempt(desk, wanted)
            await open_leg(desk.db, first, fingerprint=wanted.fingerprint)
            marked = await close(desk, wanted)
            assert (marked.is_open, marked.closing) == (True, True)

            after = await _carry_out(desk, first)

    assert (after.attempt_no, after.failure_reason) == (first.attempt_no, "CHANNEL_UNREACHED")
    assert [row[2] for row in world.attempts(item.leg_no)] == ["failed"]


async def test_a_provider_that_charges_what_it_has_closed_is_under_review(world: World) -> None:
    """CLOSED, then a callback that says SUCCEEDED: a late success, for a person."""
    item, attempt = await waiting(world, PAID_AFTER_CLOSE)
    assert (await world.closed(item)).attempt.state == CLOSED
    await world.until(attempt.attempt_no, "review")
    assert world.row(attempt.attempt_no, "failure_reason") == ("LATE_SUCCESS",)
    assert len(world.handle.published(events.AttemptReviewed)) == 1


async def test_another_content_is_refused(world: World) -> None:
    """Before anybody is asked."""
    item, attempt = await waiting(world)
    other = leg(item.leg_no, amount_minor=999)
    assert (await world.closed(other)).status.reason == "REQUEST_REUSED"
    stranger = leg(item.leg_no, app_id="other")
    assert (await world.closed(stranger)).status.reason == "REQUEST_REUSED"
    assert world.row(attempt.attempt_no, "closing") == (False,)


async def test_only_a_charge_can_be_closed(world: World) -> None:
    """A refund is the payer's money on its way: it ends by itself."""
    item = leg(operation=REFUND, original_leg_no=leg().leg_no)
    assert (await world.closed(item)).status.reason == "INVALID_FIELDS"


# Wallets.


def wallet(**wanted: object):
    return leg(**({"tool": BALANCE, "user_no": "u1"} | wanted))


async def test_a_wallet_leg_that_was_not_booked_never_will_be(world: World) -> None:
    """The posting is on its way and slow: forbidden before it comes, it is refused."""
    world.ledger.gate.clear()
    item = wallet()
    submitted = asyncio.create_task(world.submit(item))
    await eventually(lambda: world.ledger.posted)

    closed = (await world.closed(item)).attempt
    world.ledger.gate.set()
    answer = (await submitted).attempt

    assert (closed.state, answer.state) == (CLOSED, CLOSED)
    await world.settled()
    assert world.state(closed.attempt_no) == "closed"
    assert world.ledger.booked == {}


async def test_a_wallet_leg_that_was_booked_is_paid(world: World) -> None:
    """Its answer was lost; closing it finds the booking."""
    world.ledger.lose_answers = 1
    item = wallet(seconds=2)
    attempt = await world.attempted(item)
    assert attempt.state == PROCESSING
    closed = (await world.closed(item)).attempt
    assert (closed.attempt_no, closed.state) == (attempt.attempt_no, SUCCEEDED)


async def test_a_wallet_leg_whose_close_is_lost_is_never_booked_by_asking(world: World) -> None:
    """Asking would be posting, so it is only closed again."""
    world.ledger.gate.clear()  # The first posting is on its way, and slow.
    item = wallet(seconds=1)
    attempt = await world.attempted(item)
    world.ledger.lose_forbids = 1

    assert (await world.closed(item)).attempt.state == PROCESSING
    assert len(world.ledger.posted) == 1
    await world.handle.shift("1 hour")

    await world.until(attempt.attempt_no, "closed")
    assert len(world.ledger.posted) == 1
    world.ledger.gate.set()
    await world.settled()
    assert (world.state(attempt.attempt_no), world.ledger.booked) == ("closed", {})


async def test_a_wallet_leg_that_was_refused_has_failed(world: World) -> None:
    """What ended before the close stays as it ended."""
    world.ledger.refusal = "EXCEEDS_FLOOR"
    item = wallet()
    assert (await world.attempted(item)).state == FAILED
    assert (await world.closed(item)).attempt.state == FAILED
