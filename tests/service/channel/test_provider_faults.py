"""Every fault of the provider against the whole service: what it ends in, and what it costs.

The word of an order, in whatever order, form and number it comes, leads to the truth that the
simulator has in its own book, or to REVIEW; what is not provably the provider's leads nowhere.
"""

import asyncio

import pytest
from prometheus_client import REGISTRY

from tests.service.channel.world import (
    PROCESSING,
    World,
    leg,
    refund_of,
)
from tests.waiting import eventually
from tongbao.channel.v1 import attempt_pb2
from tongbao.channel.v1 import events_pb2 as events

# The replies that say nothing although everything was done, or may have been.
SPOILT = (
    "processed_reset",
    "processed_error",
    "new_code",
    "bad_signature",
    "stale_reply",
    "malformed",
    "bad_gateway",
    "redirect",
    "drip",
    "huge_body",
)


@pytest.fixture(autouse=True)
async def fair_weather(world: World):
    """Nothing that a test set out to break is left for the next one."""
    yield
    await world.simulator.control("clear", {})


def counted(outcome: str, channel_code: str = "sim-a") -> float:
    """How many callbacks ended so."""
    labels = {"channel_code": channel_code, "outcome": outcome}
    return REGISTRY.get_sample_value("tongbao_callbacks_total", labels) or 0


def callbacks(world: World, attempt: attempt_pb2.Attempt) -> list[tuple[str, int]]:
    return world.handle.rows(
        "SELECT verdict, copies FROM callback WHERE attempt_no = %(no)s ORDER BY callback_id",
        no=attempt.attempt_no,
    )


async def struck(world: World, fault: str, **then: int) -> attempt_pb2.Attempt:
    """An attempt at sim-a whose charge suffers `fault`."""
    await world.simulator.rule(fault, op="charge", **then)
    return await world.attempted(leg())


async def moved(world: World, attempt: attempt_pb2.Attempt) -> int:
    """What moved of it in truth, with what moved a second time."""
    rows = await world.simulator.truth()
    own = [row for row in rows if attempt.attempt_no in (row["number"], row["of"])]
    return sum(row["moved_minor"] for row in own if row["kind"] != "refund")


@pytest.mark.parametrize("fault", SPOILT)
async def test_a_spoilt_reply_is_unknown_and_the_truth_is_found(world: World, fault: str) -> None:
    """Never a failure, never a second attempt: one charge there, one success here."""
    await world.simulator.rule(fault, op="charge", amount_minor=1000)
    item = leg(seconds=2 if fault == "drip" else 20)

    attempt = await world.attempted(item)

    assert attempt.state in (PROCESSING, attempt_pb2.Attempt.STATE_SUCCEEDED)
    await world.until(attempt.attempt_no, "succeeded")
    await world.settled()
    assert world.state(attempt.attempt_no) == "succeeded"
    assert len(world.attempts(item.leg_no)) == 1
    assert len(world.handle.published(events.AttemptSucceeded)) == 1
    assert await moved(world, attempt) == 1000


@pytest.mark.parametrize("fault", SPOILT)
async def test_a_spoilt_answer_to_a_question_ends_nothing(world: World, fault: str) -> None:
    """We ask again; the next answer tells."""
    await world.simulator.rule("processed_hang", op="charge", amount_minor=1000)
    await world.simulator.rule(fault, op="query")

    attempt = await world.attempted(leg(seconds=1))

    assert attempt.state == PROCESSING
    await world.until(attempt.attempt_no, "succeeded")
    assert world.row(attempt.attempt_no, "sends, failure_reason") == (1, "")


async def test_a_system_error_first_and_the_money_all_the_same(world: World) -> None:
    """The error says nothing about the charge, and the callback alone would tell."""
    attempt = await struck(world, "processed_error")

    await world.until(attempt.attempt_no, "succeeded")
    assert world.handle.published(events.AttemptFailed) == []


async def test_a_number_that_is_not_found_at_first_has_not_failed(world: World) -> None:
    """The provider's left hand does not know yet; nobody calls back."""
    item = leg()
    await world.simulator.rule("hidden", op="charge")
    attempt = await world.attempted(item)
    assert attempt.state == PROCESSING

    await world.until(attempt.attempt_no, "succeeded")

    assert world.row(attempt.attempt_no, "sends") == (1,)
    assert callbacks(world, attempt) == []
    assert len(world.attempts(item.leg_no)) == 1
    assert await moved(world, attempt) == 1000


async def test_a_refund_that_is_not_found_at_first_has_not_failed(world: World) -> None:
    """Likewise: a second refund under another number would be given twice."""
    paid, _ = await world.paid()
    await world.simulator.rule("hidden", op="refund")

    refund = await world.attempted(refund_of(paid))

    await world.until(refund.attempt_no, "succeeded")
    assert len(world.attempts(refund.leg_no)) == 1
    [row] = await world.truth(refund.attempt_no)
    assert (row["state"], row["moved_minor"]) == ("SUCCEEDED", 1000)


async def test_a_payer_who_comes_long_after_the_caller_left_has_paid(world: World) -> None:
    """Success after every timeout there is: by the provider's clock it is an hour later."""
    attempt = await struck(world, "pays_late", after_s=3600)
    assert attempt.state == PROCESSING

    await world.simulator.advance(hours=1)

    await world.until(attempt.attempt_no, "succeeded")


async def test_a_callback_an_hour_late_changes_nothing_that_was_found_by_asking(
    world: World,
) -> None:
    """It comes when the clock is moved, is kept, and is no second success."""
    attempt = await struck(world, "late_callback", after_s=3600)
    await world.paid_there(attempt)
    await world.handle.shift("31 seconds")
    await world.until(attempt.attempt_no, "succeeded")
    before = world.row(attempt.attempt_no, "version")

    await world.simulator.advance(hours=1)

    await eventually(lambda: callbacks(world, attempt) == [("succeeded", 1)])
    await world.settled()
    assert world.row(attempt.attempt_no, "version") == before
    assert len(world.handle.published(events.AttemptSucceeded)) == 1


async def test_a_callback_before_the_reply_is_believed(world: World) -> None:
    """The reply that follows says PENDING, and takes nothing back."""
    attempt = await struck(world, "early_callback")

    assert attempt.state == attempt_pb2.Attempt.STATE_SUCCEEDED
    await world.settled()
    assert world.state(attempt.attempt_no) == "succeeded"
    assert len(world.handle.published(events.AttemptSucceeded)) == 1


async def test_callbacks_in_the_wrong_order_end_where_the_right_one_does(world: World) -> None:
    """PENDING after SUCCEEDED is old news."""
    attempt = await struck(world, "shuffled_callback")

    await eventually(lambda: len(callbacks(world, attempt)) == 2)
    await world.settled()
    assert callbacks(world, attempt) == [("succeeded", 1), ("action", 1)]
    assert world.state(attempt.attempt_no) == "succeeded"


async def test_a_stale_callback_is_refused_and_the_fresh_one_is_taken(world: World) -> None:
    """Signed ten minutes ago it might be anybody's recording."""
    before = counted("untrusted")
    attempt = await struck(world, "stale_callback")

    await world.until(attempt.attempt_no, "succeeded")

    assert counted("untrusted") == before + 1
    assert callbacks(world, attempt) == [("succeeded", 1)]


async def test_a_forged_success_is_refused_and_counted_and_the_charge_has_failed(
    world: World,
) -> None:
    """It came first and said that all went well."""
    before = counted("untrusted")
    attempt = await struck(world, "forged_callback")

    await world.until(attempt.attempt_no, "failed")
    await world.settled()

    assert counted("untrusted") == before + 1
    assert callbacks(world, attempt) == [("failed", 1)]
    assert world.handle.published(events.AttemptSucceeded) == []
    [counts] = await world.simulator.told("counts")
    assert counts["forged_sent"] >= 1
    assert not counts["forged_taken"]


async def test_a_callback_of_another_acquirer_is_refused(world: World) -> None:
    """Well signed, by somebody who was never given the order; then the right one comes."""
    before = counted("wrong_account")
    attempt = await struck(world, "wrong_account")

    await world.until(attempt.attempt_no, "succeeded")

    assert counted("wrong_account") == before + 1
    assert callbacks(world, attempt) == [("succeeded", 1)]


async def test_a_replay_adds_no_row_and_no_event(world: World) -> None:
    """Freshly signed, again and again; stale and forged ones are refused on top."""
    _, attempt = await world.paid()
    await eventually(lambda: callbacks(world, attempt) == [("succeeded", 1)])
    before = world.row(attempt.attempt_no, "version")
    refused = counted("untrusted")
    order = {"acquirer": "sim-a", "kind": "charge", "number": attempt.attempt_no}

    for seal in ("true", "true", "stale", "forged"):
        await world.simulator.control("replay", order | {"seal": seal})

    await world.settled()
    assert callbacks(world, attempt) == [("succeeded", 3)]
    assert counted("untrusted") == refused + 2
    assert world.row(attempt.attempt_no, "version") == before
    assert len(world.handle.published(events.AttemptSucceeded)) == 1


async def test_copies_at_once_are_one_row(world: World) -> None:
    """Twenty doors at the same moment; each is counted."""
    await world.simulator.rule("lost_callback", op="charge")
    attempt = await world.attempted(leg())
    said = [world.say(attempt, event_id="E-1", time="") for _ in range(20)]

    assert await asyncio.gather(*said) == [200] * 20

    assert callbacks(world, attempt) == [("succeeded", 20)]
    await world.until(attempt.attempt_no, "succeeded")


async def test_another_amount_under_the_same_event_id_is_kept_too(world: World) -> None:
    """A provider that contradicts itself is evidence, not a copy."""
    await world.simulator.rule("lost_callback", op="charge")
    attempt = await world.attempted(leg())

    assert await world.say(attempt, event_id="E-1") == 200
    await world.until(attempt.attempt_no, "succeeded")
    assert await world.say(attempt, event_id="E-1", amount_minor=1001) == 200

    await world.until(attempt.attempt_no, "review")
    assert callbacks(world, attempt) == [("succeeded", 1), ("succeeded", 1)]


async def test_money_in_another_currency_goes_to_review(world: World) -> None:
    """The same figure in dollars is not the same money."""
    attempt = await struck(world, "wrong_currency")

    await world.until(attempt.attempt_no, "review")

    assert world.row(attempt.attempt_no, "failure_reason") == ("CURRENCY_MISMATCH",)
    [row] = await world.truth(attempt.attempt_no)
    assert (row["currency"], row["moved_currency"]) == ("CNY", "USD")


async def test_a_second_success_under_another_number_is_not_taken_for_the_first(
    world: World,
) -> None:
    """The payer paid twice: one success, then REVIEW; both callbacks are there."""
    attempt = await struck(world, "paid_twice")

    await world.until(attempt.attempt_no, "review")

    [told] = world.handle.published(events.AttemptReviewed)
    assert told.attempt.failure_reason == "DUPLICATE_SUCCESS"
    assert told.attempt.provider_no == attempt.provider_no
    assert len(world.handle.published(events.AttemptSucceeded)) == 1
    await eventually(lambda: callbacks(world, attempt) == [("succeeded", 1)] * 2)
    assert await moved(world, attempt) == 2000


@pytest.mark.parametrize("fault", ["reversed", "reversed_first"])
async def test_money_that_went_back_goes_to_review_in_either_order(
    world: World, fault: str
) -> None:
    """Whether we hear of the success before, after, or never in time."""
    attempt = await struck(world, fault)

    await world.until(attempt.attempt_no, "review")
    await eventually(lambda: len(callbacks(world, attempt)) == 2)
    await world.settled()

    assert world.row(attempt.attempt_no, "state, failure_reason") == ("review", "CHANNEL_REVERSED")
    verdicts = [verdict for verdict, _ in callbacks(world, attempt)]
    in_time = ["succeeded", "reversed"]
    assert verdicts == (in_time if fault == "reversed" else in_time[::-1])
    assert await moved(world, attempt) == 0


async def test_a_refund_that_came_back_goes_to_review(world: World) -> None:
    """退票: the payer's bank sent it back days later."""
    paid, _ = await world.paid()
    await world.simulator.rule("reversed", op="refund", after_s=3 * 86_400)
    refund = await world.attempted(refund_of(paid))
    await world.until(refund.attempt_no, "succeeded")

    await world.simulator.advance(days=3)

    await world.until(refund.attempt_no, "review")
    assert world.row(refund.attempt_no, "failure_reason") == ("CHANNEL_REVERSED",)


async def test_money_after_the_close_goes_to_review(world: World) -> None:
    """The provider said CLOSED, and then took it."""
    await world.simulator.rule("paid_after_close", op="charge")
    attempt = await world.attempted(leg())
    path = f"/v1/charges/{attempt.attempt_no}/close"
    assert (await world.simulator.call("POST", path))[1]["state"] == "CLOSED"
    assert await world.say(attempt, state="CLOSED") == 200

    await world.until(attempt.attempt_no, "review")

    assert world.row(attempt.attempt_no, "failure_reason") == ("LATE_SUCCESS",)
    assert await moved(world, attempt) == 1000


@pytest.mark.parametrize("mode", ["refuse", "hang", "error"])
async def test_an_outage_by_plan_ends_by_plan_and_loses_nothing(world: World, mode: str) -> None:
    """What was sent before it is found after it; the windows are in the provider's time."""
    await world.simulator.rule("processed_hang", op="charge", amount_minor=1000)
    attempt = await world.attempted(leg(seconds=1))
    now = await world.simulator.now()
    window = {"from": now.isoformat(), "to": now.replace(year=now.year + 1).isoformat()}
    await world.simulator.control("outages", {"acquirer": "sim-a", "mode": mode, **window})
    assert world.state(attempt.attempt_no) in ("processing", "succeeded")

    if mode == "refuse":  # New ones go elsewhere at once, and nobody else is touched.
        other = await world.attempted(leg())
        assert other.channel_code == "sim-b"
    await world.simulator.advance(days=366)

    await world.until(attempt.attempt_no, "succeeded")
    assert await moved(world, attempt) == 1000
