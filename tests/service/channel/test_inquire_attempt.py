"""Asking about what is not known: on time, without end, and never twice the money."""

import asyncio
import signal

from tests.service.channel.world import (
    PROCESSING,
    Stream,
    World,
    leg,
    refund_of,
)
from tests.waiting import eventually
from tongbao.channel.v1 import events_pb2 as events


async def test_a_charge_whose_reply_never_came_is_found_paid(world: World) -> None:
    """The provider processed it and hung; nobody calls back either."""
    await world.simulator.rule("processed_hang", op="charge", amount_minor=1000)

    attempt = await world.attempted(leg(seconds=1))
    assert attempt.state == PROCESSING

    await world.until(attempt.attempt_no, "succeeded")
    await world.settled()  # The hung call ends too, and takes nothing back.
    assert world.state(attempt.attempt_no) == "succeeded"
    assert len(world.handle.published(events.AttemptSucceeded)) == 1
    assert len(await world.truth(attempt.attempt_no)) == 1


async def test_a_lost_callback_is_made_good_by_asking(world: World) -> None:
    """Whoever waits for a payer is asked about after half a minute."""
    await world.simulator.rule("lost_callback", op="charge", amount_minor=1000)
    attempt = await world.attempted(leg())
    await world.paid_there(attempt)
    [seconds] = world.row(attempt.attempt_no, "extract(epoch FROM due_time - create_time)::int")
    assert seconds == 30

    await world.handle.shift("31 seconds")

    await world.until(attempt.attempt_no, "succeeded")
    assert len(world.handle.published(events.AttemptSucceeded)) == 1


async def test_an_unlisted_answer_ends_nothing(world: World) -> None:
    """SYSTEM_ERROR is in no table: asked about, and the order is not even there."""
    await world.simulator.rule("system_error", op="charge", amount_minor=1000)

    attempt = await world.attempted(leg())

    assert (attempt.state, attempt.failure_reason) == (PROCESSING, "")
    await eventually(lambda: world.row(attempt.attempt_no, "tries")[0] >= 2)
    assert world.row(attempt.attempt_no, "state, sends") == ("processing", 1)


async def test_a_reply_with_a_bad_signature_ends_nothing(world: World) -> None:
    """It may say what it likes; the query is believed."""
    await world.simulator.rule("bad_signature", op="charge", amount_minor=1000)

    attempt = await world.attempted(leg())

    assert attempt.state == PROCESSING
    await world.until(attempt.attempt_no, "succeeded")


async def test_a_request_that_never_came_is_sent_again_under_its_number(world: World) -> None:
    """Not within the grace; then once, and the payer has a code to scan."""
    await world.simulator.rule("reset", op="charge", amount_minor=1000)
    item = leg()
    attempt = await world.attempted(item)
    assert attempt.state == PROCESSING
    await eventually(lambda: world.row(attempt.attempt_no, "tries")[0] >= 2)
    assert await world.truth(attempt.attempt_no) == []

    await world.handle.shift("15 seconds")

    await world.until(attempt.attempt_no, "succeeded")
    assert world.row(attempt.attempt_no, "sends") == (2,)
    assert len(await world.truth(attempt.attempt_no)) == 1
    assert len(world.attempts(item.leg_no)) == 1


async def test_an_outage_after_the_first_send_fails_nothing(world: World) -> None:
    """Refused connections prove nothing once the request may have arrived."""
    await world.simulator.rule("processed_hang", op="charge", amount_minor=1000)
    item = leg(seconds=1)
    attempt = await world.attempted(item)

    await world.simulator.outage(on=True)
    await eventually(lambda: world.row(attempt.attempt_no, "tries")[0] >= 2)
    assert world.state(attempt.attempt_no) == "processing"
    assert len(world.attempts(item.leg_no)) == 1

    await world.simulator.outage(on=False)
    await world.until(attempt.attempt_no, "succeeded")


async def test_a_refund_that_was_not_reached_waits_for_its_provider(world: World) -> None:
    """It cannot go elsewhere: sent again when the provider is back, under its number."""
    paid, _ = await world.paid()
    await world.simulator.outage(on=True)

    refund = await world.attempted(refund_of(paid))
    assert refund.state == PROCESSING

    await world.simulator.outage(on=False)
    await world.handle.shift("15 seconds")
    await world.until(refund.attempt_no, "succeeded")
    assert world.row(refund.attempt_no, "sends") == (2,)
    assert len(await world.truth(refund.attempt_no)) == 1


async def test_a_charge_refused_later_has_failed(world: World) -> None:
    """The provider says so, verified; one event."""
    await world.simulator.rule("refused_later", op="charge", amount_minor=1000)

    attempt = await world.attempted(leg())

    await world.until(attempt.attempt_no, "failed")
    [told] = world.handle.published(events.AttemptFailed)
    assert told.attempt.failure_reason == "REFUSED"


async def test_a_silent_provider_holds_up_its_own_inquiries_alone(world: World) -> None:
    """While one is asked and does not answer, another's attempt is found paid."""
    await world.simulator.rule("lost_callback", op="charge", amount_minor=1001)
    silent = await world.attempted(leg(amount_minor=1001))
    await world.put_account("sim-a", priority=9)
    await world.simulator.rule("lost_callback", op="charge", acquirer="sim-b", amount_minor=1002)
    lively = await world.attempted(leg(amount_minor=1002))
    assert (silent.channel_code, lively.channel_code) == ("sim-a", "sim-b")
    await world.paid_there(lively)
    await world.simulator.hang(on=True)
    late = "UPDATE attempt SET due_time = business_now() - interval '1 s' WHERE attempt_no = %(no)s"
    world.handle.rows(late, no=silent.attempt_no)
    leased = "due_time > business_now()"
    await eventually(lambda: world.row(silent.attempt_no, leased)[0])

    world.handle.rows(late, no=lively.attempt_no)

    await world.until(lively.attempt_no, "succeeded")
    # The inquiry of the silent one is still out: it has put nothing down.
    assert world.row(silent.attempt_no, "tries, version") == (0, silent.version)


async def test_a_killed_process_loses_nothing(world: World) -> None:
    """Killed between the request and its reply; whoever comes after finds the money."""
    await world.simulator.rule("processed_hang", op="charge", amount_minor=1000)
    item = leg()
    async with world.ground.spawn("channel", replica=1, **_elsewhere(world)) as doomed:
        stream = Stream(doomed)
        await stream.send(item)
        await eventually(lambda: world.attempts(item.leg_no))
        [[attempt_no, *_]] = world.attempts(item.leg_no)
        async with asyncio.timeout(20):
            while not await world.truth(attempt_no):
                pass
        doomed.process.send(signal.SIGKILL)
        await stream.close()

    await world.until(attempt_no, "succeeded")
    assert len(await world.truth(attempt_no)) == 1
    assert len(world.attempts(item.leg_no)) == 1


def _elsewhere(world: World) -> dict[str, object]:
    """A port for callbacks of its own, which nobody uses: ours takes them all."""
    return {"http_port": 0, "http_url": f"http://127.0.0.1:{world.port}"}
