"""Submit: write the attempt, ask the channel, go elsewhere if it was certainly not reached."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import structlog

from channel.adapters.spi import Result, Retry
from channel.calls import account_of, send
from channel.desk import Desk
from channel.flow.apply_result import apply_result
from channel.model import Attempt, ChannelAccount, Leg, Operation, refuse
from channel.orders import patience
from channel.routing import choose, cost_of
from channel.states import ATTEMPT, State
from channel.store import attempt as store
from channel.verdicts import Source, judged
from mesh.batch import NotExecuted, Unknown
from mesh.context import remaining
from mesh.errors import Refused, reused
from mesh.numbers import Kind
from mesh.sql import Outcome
from tongbao.channel.v1 import reasons_pb2 as reasons

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
    ended: asyncio.Future[Attempt] = asyncio.get_running_loop().create_future()
    desk.awaited[leg.leg_no] = ended
    work = desk.go_on(_carry_out(desk, attempt))
    left = remaining()
    try:
        await asyncio.wait(
            [work, ended],
            timeout=None if left is None else max(0, left - ANSWER_SECONDS),
            return_when=asyncio.FIRST_COMPLETED,
        )
    finally:
        del desk.awaited[leg.leg_no]
    if ended.done():
        return ended.result()
    if work.done() and work.exception() is None:
        return work.result()
    return await _latest(desk, attempt)


async def _latest(desk: Desk, attempt: Attempt) -> Attempt:
    """Return the leg's latest attempt as it is now; `attempt` when that cannot be read."""
    try:
        kept = await store.find_leg(desk.db, attempt.leg_no, app_id=attempt.app_id)
    except (NotExecuted, Unknown):
        # The leg stands: to answer anything but an attempt would say that it does not.
        return attempt
    assert kept.attempt is not None, "a leg and its attempt are written together"
    return kept.attempt


async def _open(desk: Desk, leg: Leg) -> tuple[Attempt, bool]:
    """Return the leg's latest attempt, and whether it is new: written by us just now."""
    try:
        first = await _first_attempt(desk, leg)
    except Refused:
        # A leg that was seen is answered, whatever would be said to it if it were new.
        kept = await _find(desk, leg)
        if kept.outcome is Outcome.RACE:
            raise
    else:
        kept = await store.open_leg(desk.db, first, fingerprint=leg.fingerprint)
        if kept.outcome is Outcome.RACE:
            kept = await _find(desk, leg)
    if kept.outcome is Outcome.REUSED:
        raise reused(field="leg_no", number=leg.leg_no)
    assert kept.attempt is not None, "a leg and its attempt are written together"
    return kept.attempt, kept.outcome is Outcome.DONE


async def _find(desk: Desk, leg: Leg) -> store.Kept:
    return await store.find_leg(desk.db, leg.leg_no, app_id=leg.app_id, fingerprint=leg.fingerprint)


async def _first_attempt(desk: Desk, leg: Leg) -> Attempt:
    """Return the attempt to begin with. Raises Refused: ORIGINAL_NOT_FOUND, NO_CHANNEL."""
    if leg.operation is Operation.REFUND:
        original = await _original(desk, leg)
        account = await account_of(desk, original)
        return _attempt(desk, leg, account, cost_minor=0, original_attempt_no=original.attempt_no)
    choice = choose(await desk.accounts.all(), tool=leg.tool, currency_code=leg.currency_code)
    if choice.account is None:
        log.warning("no_channel", leg_no=leg.leg_no, against=choice.against)
        raise refuse(reasons.REASON_NO_CHANNEL, tool=leg.tool, currency_code=leg.currency_code)
    cost_minor = cost_of(choice.account, amount_minor=leg.amount_minor)
    return _attempt(desk, leg, choice.account, cost_minor=cost_minor, original_attempt_no="")


async def _original(desk: Desk, leg: Leg) -> Attempt:
    """Return the attempt whose money is given back: one that has some."""
    kept = await store.find_leg(desk.db, leg.original_leg_no, app_id=leg.app_id)
    if kept.attempt is None or kept.attempt.state not in (State.SUCCEEDED, State.REVIEW):
        raise refuse(reasons.REASON_ORIGINAL_NOT_FOUND, original_leg_no=leg.original_leg_no)
    return kept.attempt


def _attempt(
    desk: Desk, leg: Leg, account: ChannelAccount, *, cost_minor: int, original_attempt_no: str
) -> Attempt:
    now = desk.clock.now()
    return Attempt(
        attempt_no=desk.numbers.next(Kind.ATTEMPT),
        leg_no=leg.leg_no,
        app_id=leg.app_id,
        business_code=leg.business_code,
        user_no=leg.user_no,
        subject=leg.subject,
        trace_no=leg.trace_no,
        operation=leg.operation,
        tool=leg.tool,
        channel_code=account.channel_code,
        currency_code=leg.currency_code,
        amount_minor=leg.amount_minor,
        reported_minor=0,
        cost_minor=cost_minor,
        original_attempt_no=original_attempt_no,
        provider_no="",
        qr_code="",
        failure_reason="",
        state=ATTEMPT.initial,
        version=1,
        due_time=now + patience(account),
        tries=0,
        sends=1,
        sent_time=now,
        create_time=now,
        update_time=now,
    )


async def _carry_out(desk: Desk, attempt: Attempt) -> Attempt:
    """Send the attempt, and those that follow it, until one was not certainly in vain."""
    tried = {attempt.channel_code}
    while True:
        said = await send(desk, attempt, sent_before=False)
        following = await _following(desk, attempt, said, tried=tried)
        if following is None:
            return await apply_result(desk, attempt, said, source=Source.REPLY)
        ended = judged(attempt, said, sends=attempt.sends)
        if not await store.replace_attempt(desk.db, ended, following=following):
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
