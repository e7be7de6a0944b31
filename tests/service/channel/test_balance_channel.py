"""Wallets as a channel: one posting, booked once, refused for good or asked again."""

import asyncio

from channel.adapters.spi import Outcome, Result, Retry
from channel.desk import opened
from channel.flow.apply_result import apply_result
from channel.flow.inquire_attempt import inquire_attempt
from channel.store.attempt import find_attempt
from channel.verdicts import Source
from mesh.context import Acting, acting_as
from tests.service.channel.world import (
    BALANCE,
    FAILED,
    PROCESSING,
    SUCCEEDED,
    World,
    leg,
    refund_of,
)
from tests.services import Ground
from tests.simulator import Simulator
from tests.waiting import eventually
from tongbao.channel.v1 import events_pb2 as events


def wallet(**wanted: object):
    return leg(**({"tool": BALANCE, "user_no": "u1", "seconds": 2} | wanted))


async def test_a_wallet_pays_at_once(world: World) -> None:
    """One posting under the attempt's number, into clearing of the built-in channel."""
    attempt = await world.attempted(wallet(amount_minor=250))

    assert (attempt.state, attempt.channel_code, attempt.cost_minor) == (SUCCEEDED, "balance", 0)
    [posting] = world.ledger.posted
    assert (posting.template, posting.source_no) == ("WALLET_PAID", attempt.attempt_no)
    assert (posting.trace_no, posting.business_code) == ("MALL-1", "MALL")
    assert (posting.amount.minor_units, posting.amount.currency_code) == (250, "CNY")
    assert (posting.channel_code, posting.user_no) == ("balance", "u1")
    assert len(world.handle.published(events.AttemptSucceeded)) == 1
    assert world.row(attempt.attempt_no, "due_time") == (None,)


async def test_the_clearing_account_is_opened_before_the_first_posting(world: World) -> None:
    """Once a currency; the ledger would remember a refusal for ever."""
    for currency_code in ("KWD", "KWD", "JPY"):
        await world.attempted(wallet(currency_code=currency_code))

    ours = [currency for owner, currency in world.ledger.opened if owner == "balance"]
    assert ours == ["KWD", "JPY"]


async def test_nothing_is_posted_while_clearing_cannot_be_opened(world: World) -> None:
    """So the leg has failed for good, whatever became of the opening."""
    world.ledger.refuse_opening = True

    attempt = await world.attempted(wallet())

    assert (attempt.state, attempt.failure_reason) == (FAILED, "CHANNEL_UNREACHED")
    assert world.ledger.posted == []


async def test_a_wallet_without_money_has_failed(world: World) -> None:
    """The reason is for the payer."""
    world.ledger.refusal = "EXCEEDS_FLOOR"

    attempt = await world.attempted(wallet())

    assert (attempt.state, attempt.failure_reason) == (FAILED, "BALANCE_NOT_ENOUGH")
    [told] = world.handle.published(events.AttemptFailed)
    assert told.attempt.attempt_no == attempt.attempt_no


async def test_a_refund_goes_back_into_the_wallet(world: World) -> None:
    """By the template for it, under the refund's own attempt."""
    item = wallet()
    paid = await world.attempted(item)

    refund = await world.attempted(refund_of(item, amount_minor=300))

    assert (refund.state, refund.channel_code) == (SUCCEEDED, "balance")
    posting = world.ledger.posted[-1]
    assert (posting.template, posting.source_no) == ("WALLET_REFUNDED", refund.attempt_no)
    assert (posting.amount.minor_units, posting.user_no) == (300, "u1")
    assert refund.attempt_no != paid.attempt_no


async def test_a_lost_answer_is_asked_for_by_posting_again(world: World) -> None:
    """Booked once; the second posting finds it there."""
    world.ledger.lose_answers = 1

    attempt = await world.attempted(wallet())

    assert attempt.state == PROCESSING
    await world.until(attempt.attempt_no, "succeeded")
    assert len(world.ledger.booked) == 1
    assert [posting.source_no for posting in world.ledger.posted] == [attempt.attempt_no] * 2
    assert world.row(attempt.attempt_no, "sends") == (2,)


async def test_a_refusal_at_the_door_takes_nothing_back_that_may_be_booked(world: World) -> None:
    """The first posting was booked and its answer lost; the next one is not even tried."""
    world.ledger.lose_answers = 1
    attempt = await world.attempted(wallet())
    world.ledger.decline = True

    await eventually(lambda: world.row(attempt.attempt_no, "tries")[0] >= 1)
    assert world.state(attempt.attempt_no) == "processing"

    world.ledger.decline = False
    await world.until(attempt.attempt_no, "succeeded")
    assert len(world.ledger.booked) == 1


async def test_without_a_ledger_the_wallet_leg_fails_for_good(
    ground: Ground, simulator: Simulator
) -> None:
    """Nobody was reached, so nothing was booked, and nothing will be."""
    world = World(ground, simulator, None)
    async with ground.run("channel", **world.settings) as world.handle:
        attempt = await world.attempted(wallet(seconds=10))

        assert (attempt.state, attempt.failure_reason) == (FAILED, "CHANNEL_UNREACHED")
        assert world.row(attempt.attempt_no, "due_time") == (None,)


async def test_a_posting_refused_at_the_door_is_not_booked(world: World) -> None:
    """The ledger does not even try: this leg has failed, and no money has moved."""
    world.ledger.decline = True

    attempt = await world.attempted(wallet())

    assert (attempt.state, attempt.failure_reason) == (FAILED, "CHANNEL_UNREACHED")
    assert world.ledger.booked == {}


async def test_a_question_that_is_out_cannot_be_called_off(world: World) -> None:
    """The first posting meets nobody; a question, which posts too, is on its way: one success.

    A question that may move money is a send, written before it is made: then the refusal of
    the send before it is no longer the last word.
    """
    world.ledger.gate.clear()
    attempt = await world.attempted(wallet(seconds=1))
    async with opened(world.handle.runtime) as desk:
        first = await find_attempt(desk.db, attempt.attempt_no, app_id="mall")
        with acting_as(Acting(app_id="mall", trace_no="MALL-1")):
            question = asyncio.create_task(inquire_attempt(desk, first))
        await eventually(lambda: world.row(attempt.attempt_no, "sends") == (2,))

        unreached = Result(outcome=Outcome.FAILED, code="UNREACHED", retry=Retry.ELSEWHERE)
        after = await apply_result(desk, first, unreached, source=Source.REPLY)

        assert after.is_open
        world.ledger.gate.set()
        await question
    await world.until(attempt.attempt_no, "succeeded")
    await world.settled()
    assert world.handle.published(events.AttemptFailed) == []
    assert world.handle.published(events.AttemptReviewed) == []
    assert len(world.ledger.booked) == 1
