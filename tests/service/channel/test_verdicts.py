"""What a provider's word means: the whole table, without any provider."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from channel.adapters import ADAPTERS
from channel.adapters.spi import Outcome, Result, Retry
from channel.model import Attempt, Operation
from channel.states import ATTEMPT, Event, State
from channel.verdicts import (
    LADDER,
    PAYER_PACE,
    Source,
    event_of,
    judged,
    may_resend,
    next_look,
)

NOW = datetime(2026, 11, 22, tzinfo=UTC)
SOON = timedelta(seconds=2)
SPEC = ADAPTERS["sim"].spec

MOVED = Result(outcome=Outcome.SUCCEEDED, amount_minor=1000, currency_code="CNY", provider_no="p-1")
MORE = replace(MOVED, amount_minor=1001)
YEN = replace(MOVED, currency_code="JPY")
REFUSED = Result(outcome=Outcome.FAILED, code="REFUSED")
UNREACHED = Result(outcome=Outcome.FAILED, code="UNREACHED", retry=Retry.ELSEWHERE)
NOT_SENT = Result(outcome=Outcome.FAILED, code="UNREACHED", retry=Retry.SAME)
ENDED = Result(outcome=Outcome.CLOSED)
REVERSED = Result(outcome=Outcome.REVERSED)
AGAIN = replace(MOVED, provider_no="p-2")
ACTION = Result(outcome=Outcome.ACTION, qr_code="sim:pay", provider_no="p-1")
PENDING = Result(outcome=Outcome.PENDING)
UNKNOWN = Result(outcome=Outcome.UNKNOWN, retry=Retry.QUERY, code="LOST")
NOT_FOUND = Result(outcome=Outcome.NOT_FOUND)

ENDINGS = {
    Event.MOVED: [MOVED],
    Event.MISMATCHED: [MORE, YEN],
    Event.REFUSED: [REFUSED, UNREACHED],
    Event.ENDED: [ENDED],
    Event.REVERSED: [REVERSED],
}
OPEN_WORDS = [ACTION, PENDING, UNKNOWN, NOT_FOUND, NOT_SENT]


def attempt(**other: Any) -> Attempt:
    """An attempt that was just stored, of 10 CNY by QR code."""
    fresh = Attempt(
        attempt_no="20261122AT0000000000000001",
        leg_no="20261122PY0000000000000001-1",
        app_id="mall",
        business_code="MALL",
        user_no="",
        subject="",
        trace_no="MALL-1",
        operation=Operation.PAY,
        tool="QR_PAYER",
        channel_code="sim-a",
        currency_code="CNY",
        amount_minor=1000,
        reported_minor=0,
        reported_currency_code="",
        cost_minor=6,
        original_attempt_no="",
        provider_no="",
        qr_code="",
        failure_reason="",
        state=State.PROCESSING,
        version=1,
        due_time=NOW + SOON,
        tries=0,
        sends=1,
        sent_time=NOW,
        closing=False,
        create_time=NOW,
        update_time=NOW,
    )
    return replace(fresh, **other)


def ended(state: State) -> Attempt:
    return attempt(state=state, due_time=None, version=2)


def test_every_outcome_of_every_adapter_has_its_place() -> None:
    """A new outcome must be put into this table before it can mean anything."""
    told = {word.outcome: event_of(attempt(), word) for word in OPEN_WORDS if word != NOT_SENT}
    told |= {words[0].outcome: event for event, words in ENDINGS.items()}
    told[Outcome.SUCCEEDED] = Event.MOVED

    assert told.keys() == set(Outcome)
    assert {outcome for outcome, event in told.items() if event is None} == {
        Outcome.ACTION,
        Outcome.PENDING,
        Outcome.UNKNOWN,
        Outcome.NOT_FOUND,
    }


@pytest.mark.parametrize("event", ENDINGS)
def test_each_ending_is_recognised(event: Event) -> None:
    """Amount and currency decide between what was asked and what was not."""
    assert [event_of(attempt(), word) for word in ENDINGS[event]] == [event] * len(ENDINGS[event])


@pytest.mark.parametrize("word", OPEN_WORDS, ids=lambda word: word.outcome)
@pytest.mark.parametrize("state", State)
def test_what_ends_nothing_changes_no_state(state: State, word: Result) -> None:
    """Unknown is not failed, and a final attempt is not opened again."""
    before = attempt() if state is State.PROCESSING else ended(state)

    after = judged(before, word, sends=1)

    assert after.state is state
    if state is not State.PROCESSING:
        assert after == before


@pytest.mark.parametrize(("state", "event"), list(itertools.product(State, ENDINGS)))
def test_an_ending_moves_as_the_table_says_or_not_at_all(state: State, event: Event) -> None:
    """All states by all endings."""
    before = attempt() if state is State.PROCESSING else ended(state)

    for word in ENDINGS[event]:
        after = judged(before, word, sends=None)
        if ATTEMPT.allows(state, event):
            assert after.state is ATTEMPT.next(state, event)
            assert (after.version, after.due_time) == (before.version + 1, None)
        else:
            assert after == before
        assert judged(after, word, sends=None) == after  # Saying it again changes nothing.


def test_the_same_amount_under_another_provider_number_is_other_money() -> None:
    """Only when both are known, and only where money has moved already."""
    paid = judged(attempt(), MOVED, sends=None)

    twice = judged(paid, AGAIN, sends=None)

    assert event_of(paid, AGAIN) is Event.MOVED_AGAIN
    assert (twice.state, twice.failure_reason) == (State.REVIEW, "DUPLICATE_SUCCESS")
    assert (twice.provider_no, twice.reported_minor) == ("p-1", 0)
    assert judged(paid, replace(AGAIN, provider_no=""), sends=None) == paid
    assert judged(replace(paid, provider_no=""), AGAIN, sends=None).state is State.SUCCEEDED
    assert event_of(attempt(provider_no="p-1"), AGAIN) is Event.MOVED
    assert {each for state in State for each in Event if ATTEMPT.allows(state, each)} == set(Event)


def test_money_that_moved_is_never_forgotten_whatever_the_order() -> None:
    """Every order of every three words: a success is in the state, or a person looks at it."""
    words = [word for each in ENDINGS.values() for word in each] + [AGAIN, *OPEN_WORDS]
    for said in itertools.permutations(words, 3):
        after = attempt()
        for word in said:
            after = judged(after, word, sends=None)
        events = {event_of(attempt(), word) for word in said} - {None}
        if not events:
            assert after.state is State.PROCESSING
        elif events == {Event.MOVED} and not {MOVED, AGAIN} <= set(said):
            assert after.state is State.SUCCEEDED
        elif events <= {Event.REFUSED, Event.ENDED}:
            assert after.state in (State.FAILED, State.CLOSED)
        else:
            assert after.state is State.REVIEW, [word.outcome for word in said]


@pytest.mark.parametrize(
    ("before", "word", "reason", "reported"),
    [
        (attempt(), REFUSED, "REFUSED", 0),
        (attempt(), UNREACHED, "CHANNEL_UNREACHED", 0),
        (attempt(), MORE, "AMOUNT_MISMATCH", 1001),
        (attempt(), YEN, "CURRENCY_MISMATCH", 1000),
        (attempt(), MOVED, "", 0),
        (attempt(), ENDED, "", 0),
        (ended(State.FAILED), MOVED, "LATE_SUCCESS", 0),
        (ended(State.CLOSED), MORE, "AMOUNT_MISMATCH", 1001),
        (ended(State.SUCCEEDED), REFUSED, "CHANNEL_REVERSED", 0),
        (ended(State.SUCCEEDED), ENDED, "CHANNEL_REVERSED", 0),
        (ended(State.SUCCEEDED), REVERSED, "CHANNEL_REVERSED", 0),
        (attempt(), REVERSED, "CHANNEL_REVERSED", 0),
        (ended(State.FAILED), REVERSED, "CHANNEL_REVERSED", 0),
    ],
)
def test_the_attempt_says_why(before: Attempt, word: Result, reason: str, reported: int) -> None:
    """And what moved, when that is not what was asked."""
    after = judged(before, word, sends=None)

    assert (after.failure_reason, after.reported_minor) == (reason, reported)


def test_the_refusal_of_one_send_proves_nothing_while_another_is_out() -> None:
    """Somebody sent it again meanwhile: what the first send met does not matter."""
    sent_twice = attempt(sends=2)

    assert judged(sent_twice, UNREACHED, sends=1) == sent_twice
    assert judged(sent_twice, REFUSED, sends=2).state is State.FAILED
    assert judged(sent_twice, REFUSED, sends=None).state is State.FAILED


def test_the_refusal_of_a_send_takes_nothing_back() -> None:
    """The order was found paid while the call that met no provider was still trying."""
    paid = ended(State.SUCCEEDED)

    assert judged(paid, UNREACHED, sends=1) == paid


def test_what_is_learnt_stays_while_it_is_open_and_the_code_goes_at_the_end() -> None:
    """A word that brings nothing new is no change."""
    shown = judged(attempt(), ACTION, sends=1)
    assert (shown.qr_code, shown.provider_no, shown.version) == ("sim:pay", "p-1", 2)

    assert judged(shown, ACTION, sends=1) == shown
    assert judged(shown, UNKNOWN, sends=1) == shown
    assert judged(shown, MOVED, sends=1).qr_code == ""


def test_the_ladder_is_climbed_by_questions_without_an_answer() -> None:
    """1 s 2 s 5 s 10 s 30 s 1 m 5 m 15 m 30 m, then hourly."""
    now, asked = NOW, attempt()
    steps = []
    for _ in range(11):
        due_time, tries = next_look(asked, UNKNOWN, source=Source.QUERY, spec=SPEC, now=now)
        steps.append((due_time - now).total_seconds())
        asked = replace(asked, due_time=due_time, tries=tries)

    assert steps == [1, 2, 5, 10, 30, 60, 300, 900, 1800, 3600, 3600]
    assert len(LADDER) == 10


@pytest.mark.parametrize(
    ("source", "tries", "word", "expected"),
    [
        (Source.REPLY, 0, UNKNOWN, (timedelta(seconds=1), 0)),
        (Source.REPLY, 0, ACTION, (PAYER_PACE, 0)),
        (Source.REPLY, 2, UNKNOWN, (SOON, 2)),  # Inquiry has its own pace already.
        (Source.QUERY, 3, ACTION, (PAYER_PACE, 0)),  # The provider lives: the ladder ends.
        (Source.QUERY, 3, PENDING, (PAYER_PACE, 0)),
        (Source.QUERY, 3, NOT_FOUND, (timedelta(seconds=10), 4)),
        (Source.RESENT, 3, UNKNOWN, (timedelta(seconds=10), 4)),
        (Source.CALLBACK, 3, PENDING, (SOON, 3)),
    ],
)
def test_the_next_look_depends_on_who_is_waited_for(
    source: Source, tries: int, word: Result, expected: tuple[timedelta, int]
) -> None:
    """A payer is slow, a provider is not, and a callback changes no plan."""
    due_time, then = next_look(attempt(tries=tries), word, source=source, spec=SPEC, now=NOW)

    assert (due_time - NOW, then) == expected


def test_a_refund_waits_for_its_provider_not_for_a_payer() -> None:
    """So PENDING climbs the ladder."""
    refund = attempt(operation=Operation.REFUND, tries=1)

    due_time, tries = next_look(refund, PENDING, source=Source.QUERY, spec=SPEC, now=NOW)

    assert (due_time - NOW, tries) == (timedelta(seconds=2), 2)


def test_beyond_the_horizon_it_is_asked_about_hourly_and_never_sent() -> None:
    """Also what waits for a payer who will not come."""
    later = NOW + timedelta(seconds=SPEC.query_horizon_seconds + 1)
    for word in (ACTION, UNKNOWN):
        due_time, _ = next_look(attempt(), word, source=Source.QUERY, spec=SPEC, now=later)
        assert due_time - later == timedelta(hours=1)

    assert not may_resend(attempt(), NOT_FOUND, spec=SPEC, now=later)


def test_only_a_number_not_found_after_its_grace_is_sent_again() -> None:
    """Within it the request may still be on its way."""
    grace = timedelta(seconds=SPEC.not_found_grace_seconds)
    early, late = NOW + grace - timedelta(microseconds=1), NOW + grace

    assert not may_resend(attempt(), NOT_FOUND, spec=SPEC, now=early)
    assert may_resend(attempt(), NOT_FOUND, spec=SPEC, now=late)
    others = [word for word in OPEN_WORDS if word != NOT_FOUND]
    assert not any(may_resend(attempt(), word, spec=SPEC, now=late) for word in others)
