"""Submit: write the attempt, ask the channel, go elsewhere if it was certainly not reached."""

from __future__ import annotations

import asyncio

import structlog

from channel.adapters.spi import Result, Retry
from channel.calls import send
from channel.desk import Desk
from channel.flow._legs import find, first_attempt, latest
from channel.flow.apply_result import apply_result
from channel.model import Attempt, Leg
from channel.orders import patience
from channel.routing import choose, cost_of
from channel.store import attempt as store
from channel.verdicts import Source, judged
from mesh.context import remaining
from mesh.crew import ended
from mesh.errors import Refused, reused
from mesh.numbers import Kind
from mesh.records import replace
from mesh.sql import Outcome

ANSWER_SECONDS = 0.2  # Kept of the caller's time, to bring the answer home.

log = structlog.get_logger()


async def submit(desk: Desk, leg: Leg) -> Attempt:
    """Carry out `leg` and return its latest attempt when there is something to say.

    That is: it has ended, the payer has to act, nobody knows, or the caller's deadline is
    near; then the work goes on, and inquiry after it. A leg that was seen is left alone and
    its latest attempt returned as it is now.

    Raises Refused: REQUEST_REUSED, ORIGINAL_NOT_FOUND, NO_CHANNEL.
    """
    attempt, is_new = await _open(desk, leg)
    if not is_new:
        return attempt
    end: asyncio.Future[Attempt] = asyncio.get_running_loop().create_future()
    desk.awaited[leg.leg_no] = end
    work = desk.go_on(_carry_out(desk, attempt))
    left = remaining()
    try:
        await ended(work, also=end, within=None if left is None else left - ANSWER_SECONDS)
    finally:
        del desk.awaited[leg.leg_no]
    if end.done():
        return end.result()
    if work.done() and work.exception() is None:
        return work.result()
    return await latest(desk, attempt)


async def _open(desk: Desk, leg: Leg) -> tuple[Attempt, bool]:
    """Return the leg's latest attempt, and whether it is new: written by us just now."""
    try:
        first = await first_attempt(desk, leg)
    except Refused:
        # A leg that was seen is answered, whatever would be said to it if it were new.
        kept = await find(desk, leg)
        if kept.outcome is Outcome.RACE:
            raise
    else:
        kept = await store.open_leg(desk.db, first, fingerprint=leg.fingerprint)
        if kept.outcome is Outcome.RACE:
            kept = await find(desk, leg)
    if kept.outcome is Outcome.REUSED:
        raise reused(field="leg_no", number=leg.leg_no)
    assert kept.attempt is not None, "a leg and its attempt are written together"
    return kept.attempt, kept.outcome is Outcome.DONE


async def _carry_out(desk: Desk, attempt: Attempt) -> Attempt:
    """Send the attempt, and those that follow it, until one was not certainly in vain."""
    tried = {attempt.channel_code}
    while True:
        said = await send(desk, attempt, sent_before=False)
        following = await _following(desk, attempt, said, tried=tried)
        if following is None:
            return await apply_result(desk, attempt, said, source=Source.REPLY)
        over = judged(attempt, said, sends=attempt.sends)
        if not await store.replace_attempt(desk.db, over, following=following):
            # Somebody heard of it elsewhere, so it was not in vain.
            return await apply_result(desk, attempt, said, source=Source.REPLY)
        log.info("failed_over", attempt_no=attempt.attempt_no, next_no=following.attempt_no)
        attempt = following
        tried.add(attempt.channel_code)


async def _following(
    desk: Desk, attempt: Attempt, said: Result, *, tried: set[str]
) -> Attempt | None:
    """Return the attempt to make after `attempt`, None when there is nothing to go on with."""
    if said.retry is not Retry.ELSEWHERE:
        return None
    choice = choose(
        await desk.accounts.all(),
        tool=attempt.tool,
        currency_code=attempt.currency_code,
        tried=tried,
    )
    if choice.account is None:
        log.warning("no_channel_left", leg_no=attempt.leg_no, against=choice.against)
        return None
    now = desk.clock.now()
    return replace(
        attempt,
        attempt_no=desk.numbers.next(Kind.ATTEMPT),
        channel_code=choice.account.channel_code,
        cost_minor=cost_of(choice.account, amount_minor=attempt.amount_minor),
        due_time=now + patience(choice.account),
        sent_time=now,
        create_time=now,
        update_time=now,
    )
