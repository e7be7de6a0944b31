"""What a provider's word means for an attempt. Pure: the one place that decides.

Whoever brings the word, a reply, a callback or a query, the same word leaves the same
attempt. Only what ends an order at the provider changes a state, and only when it fits.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum, auto

from channel.adapters.spi import ChannelSpec, Outcome, Result, Retry
from channel.model import Attempt, Operation
from channel.states import ATTEMPT, Event, State
from channel.transport import UNREACHED
from mesh.records import replace

# When nobody knows: 1 s 2 s 5 s 10 s 30 s 1 m 5 m 15 m 30 m, then hourly (domain.md §4).
LADDER: Sequence[timedelta] = tuple(
    timedelta(seconds=seconds) for seconds in (1, 2, 5, 10, 30, 60, 300, 900, 1800, 3600)
)
HOURLY = LADDER[-1]
# The payer is slow, the provider is not: while we wait for a payer we ask at ease.
PAYER_PACE = timedelta(seconds=30)


class Source(StrEnum):
    """How a word came to us."""

    REPLY = auto()  # To the first send of the request.
    RESENT = auto()  # To a later send of the same request.
    QUERY = auto()  # To our question.
    CLOSE = auto()  # To our wish that nobody pays it any more.
    CALLBACK = auto()  # Unasked.


def event_of(attempt: Attempt, said: Result) -> Event | None:
    """Return what `said` ends, None when it ends nothing."""
    if said.outcome is Outcome.SUCCEEDED:
        asked = (attempt.amount_minor, attempt.currency_code)
        fits = (said.amount_minor, said.currency_code) == asked
        if fits and _is_another(attempt, said):
            return Event.MOVED_AGAIN
        return Event.MOVED if fits else Event.MISMATCHED
    if said.outcome is Outcome.REVERSED:
        return Event.REVERSED
    if said.outcome is Outcome.FAILED and said.retry is not Retry.SAME:
        return Event.REFUSED  # What may be sent again as it is has not ended.
    return Event.ENDED if said.outcome is Outcome.CLOSED else None


def judged(attempt: Attempt, said: Result, *, sends: int | None) -> Attempt:
    """Return `attempt` as it is after `said`: with the next version, or the very same.

    `sends` is how many sends a reply, or the answer to a close, knows of; else None.
    """
    event = event_of(attempt, said)
    if event is Event.REFUSED and sends is not None:
        # The refusal of one send: it proves nothing while another is out, and takes nothing
        # back that is known.
        event = event if attempt.is_open and attempt.sends == sends else None
    if event is None or not ATTEMPT.allows(attempt.state, event):
        return _learnt(attempt, said) if attempt.is_open else attempt
    state = ATTEMPT.next(attempt.state, event)
    reported = said.amount_minor if event is Event.MISMATCHED else None
    other = said.currency_code if said.currency_code != attempt.currency_code else ""
    again = event is Event.MOVED_AGAIN
    return replace(
        attempt,
        state=state,
        version=attempt.version + 1,
        due_time=None,
        qr_code="",
        # What moved again has another number; a refund goes by that of the first.
        provider_no=attempt.provider_no if again else said.provider_no or attempt.provider_no,
        reported_minor=reported or attempt.reported_minor,
        reported_currency_code=other if reported else attempt.reported_currency_code,
        failure_reason=_reason(attempt, said, event),
    )


def is_crossed(attempt: Attempt, said: Result, *, source: Source) -> bool:
    """Return whether the success we know may be younger than `said`, which denies it.

    Of an answer to what was asked while nothing was known: the provider may have spoken it
    before the payer paid. What comes unasked, or was asked for later, contradicts.
    """
    if attempt.state is not State.SUCCEEDED or source is Source.CALLBACK:
        return False
    event = event_of(attempt, said)
    return event is Event.ENDED or (event is Event.REFUSED and source is Source.QUERY)


def next_look(
    attempt: Attempt, said: Result, *, source: Source, spec: ChannelSpec, now: datetime
) -> tuple[datetime, int]:
    """Return when to ask about an open attempt after `said`, and its place on the ladder."""
    assert attempt.due_time is not None, attempt.attempt_no
    if source is Source.CALLBACK or (source is Source.REPLY and attempt.tries > 0):
        return attempt.due_time, attempt.tries  # Inquiry has its own pace already.
    waits = (
        spec.awaits_payer
        and attempt.operation is Operation.PAY
        and said.outcome in (Outcome.ACTION, Outcome.PENDING)
    )
    step = PAYER_PACE if waits else LADDER[min(attempt.tries, len(LADDER) - 1)]
    if is_beyond_horizon(attempt, spec=spec, now=now):
        step = HOURLY  # Only a person can decide now; we keep an ear open.
    asked = source in (Source.QUERY, Source.RESENT, Source.CLOSE) and not waits
    return now + step, attempt.tries + 1 if asked else 0


def may_resend(attempt: Attempt, said: Result, *, spec: ChannelSpec, now: datetime) -> bool:
    """Return whether the provider has had its time and still does not know the number.

    Then the same request goes out again under the same number: whichever send arrives, it is
    one order. Never beyond the horizon, when nobody expects it any more.
    """
    is_lost = _never_came(attempt, said, spec=spec, now=now)
    return is_lost and not is_beyond_horizon(attempt, spec=spec, now=now)


def closed_unseen(attempt: Attempt, said: Result, *, spec: ChannelSpec, now: datetime) -> Result:
    """Return `said` to a close, or that the attempt has failed when there is nothing to close.

    The provider has had its time, does not know the number, and we never send it again.
    """
    if attempt.closing and _never_came(attempt, said, spec=spec, now=now):
        return Result(outcome=Outcome.FAILED, code=said.code)
    return said


def _never_came(attempt: Attempt, said: Result, *, spec: ChannelSpec, now: datetime) -> bool:
    grace = timedelta(seconds=spec.not_found_grace_seconds)
    return said.outcome is Outcome.NOT_FOUND and now - attempt.sent_time >= grace


def _is_another(attempt: Attempt, said: Result) -> bool:
    """Return whether `said` is about other money than that by which the attempt succeeded."""
    paid = attempt.state is State.SUCCEEDED and attempt.provider_no
    return bool(paid and said.provider_no and said.provider_no != attempt.provider_no)


def is_beyond_horizon(attempt: Attempt, *, spec: ChannelSpec, now: datetime) -> bool:
    """Return whether the provider has had all its time: only a person can find out now."""
    return now - attempt.create_time > timedelta(seconds=spec.query_horizon_seconds)


def _learnt(attempt: Attempt, said: Result) -> Attempt:
    """Return the open attempt with what `said` adds to what we know."""
    known = replace(
        attempt,
        provider_no=said.provider_no or attempt.provider_no,
        qr_code=said.qr_code or attempt.qr_code,
    )
    return attempt if known == attempt else replace(known, version=attempt.version + 1)


def _reason(attempt: Attempt, said: Result, event: Event) -> str:
    """Return why the attempt is where `event` brings it; empty where there is nothing to say."""
    if event is Event.MISMATCHED:
        same = said.currency_code == attempt.currency_code
        return "AMOUNT_MISMATCH" if same else "CURRENCY_MISMATCH"
    if event is Event.MOVED:
        return "" if attempt.state is State.PROCESSING else "LATE_SUCCESS"
    if event is Event.MOVED_AGAIN:
        return "DUPLICATE_SUCCESS"
    if event is Event.REVERSED or attempt.state is State.SUCCEEDED:
        return "CHANNEL_REVERSED"
    return "CHANNEL_UNREACHED" if said.code == UNREACHED else said.code
