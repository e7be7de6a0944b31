"""Close: have the provider end what nobody has paid, so that nobody can pay it any more."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

from channel.desk import Desk
from channel.flow._end import end_attempt
from channel.flow._legs import find, first_attempt, latest
from channel.flow.submit import ANSWER_SECONDS
from channel.model import Attempt, Leg, refuse
from channel.states import ATTEMPT, Event
from channel.store import attempt as store
from channel.transport import CALL_SECONDS
from mesh.context import remaining
from mesh.errors import reused
from mesh.sql import Outcome
from tongbao.channel.v1 import reasons_pb2 as reasons

# The close and the question after it; inquiry closes again when they came to nothing.
_PATIENCE = timedelta(seconds=2 * CALL_SECONDS + 1)


async def close(desk: Desk, leg: Leg) -> Attempt:
    """End the charge `leg` and return its latest attempt, however it ended.

    The wish is written down first: from then on the attempt is not sent again and goes to no
    other channel, and inquiry closes it until it has ended. It is returned open when the
    provider did not say in time. A leg that was never submitted is written down as closed.

    Raises Refused: REQUEST_REUSED, NO_CHANNEL, PAYER_IS_PAYING; after the last one it is
    wanted again.
    """
    attempt = await _marked(desk, leg)
    if not attempt.is_open:
        return attempt
    work = desk.go_on(end_attempt(desk, attempt))
    left = remaining()
    await asyncio.wait([work], timeout=None if left is None else max(0, left - ANSWER_SECONDS))
    if not work.done() or work.exception() is not None:
        return await latest(desk, attempt)
    after, is_paying = work.result()
    if not is_paying or not (after := await _wanted_again(desk, after)).is_open:
        return after
    raise refuse(reasons.REASON_PAYER_IS_PAYING, leg_no=leg.leg_no)


async def _marked(desk: Desk, leg: Leg) -> Attempt:
    """Return the leg's latest attempt: ended, or marked as not wanted any more."""
    kept = await find(desk, leg)
    if kept.outcome is Outcome.RACE:
        kept = await store.open_leg(
            desk.db, await _never_sent(desk, leg), fingerprint=leg.fingerprint
        )
    if kept.outcome is Outcome.RACE:
        kept = await find(desk, leg)
    if kept.outcome is Outcome.REUSED:
        raise reused(field="leg_no", number=leg.leg_no)
    assert kept.attempt is not None, "a leg and its attempt are written together"
    attempt = kept.attempt
    while attempt.is_open and not attempt.closing:
        now = desk.clock.now()
        marked = replace(
            attempt,
            version=attempt.version + 1,
            closing=True,
            due_time=now + _PATIENCE,
            tries=0,
            update_time=now,
        )
        if await store.move_attempt(desk.db, marked, event=b""):
            return marked
        attempt = await latest(desk, attempt)
    return attempt


async def _never_sent(desk: Desk, leg: Leg) -> Attempt:
    """Return the attempt of a leg that was closed before it was submitted. Raises NO_CHANNEL."""
    first = await first_attempt(desk, leg)
    ended = ATTEMPT.next(first.state, Event.ENDED)
    return replace(
        first, state=ended, due_time=None, sends=0, closing=True, failure_reason="NEVER_SENT"
    )


async def _wanted_again(desk: Desk, attempt: Attempt) -> Attempt:
    """Take the mark from an attempt that is open; return it as it is then."""
    while attempt.is_open and attempt.closing:
        now = desk.clock.now()
        wanted = replace(attempt, version=attempt.version + 1, closing=False, update_time=now)
        if await store.move_attempt(desk.db, wanted, event=b""):
            return wanted
        attempt = await latest(desk, attempt)
    return attempt
