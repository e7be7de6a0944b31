"""A leg: what it stands for, the attempt that it begins with, its latest one."""

from __future__ import annotations

import structlog

from channel.calls import account_of
from channel.desk import Desk
from channel.model import Attempt, ChannelAccount, Leg, Operation, refuse
from channel.orders import patience
from channel.routing import choose, cost_of
from channel.states import ATTEMPT, State
from channel.store import attempt as store
from mesh.batch import NotExecuted, Unknown
from mesh.numbers import Kind
from tongbao.channel.v1 import reasons_pb2 as reasons

log = structlog.get_logger()


async def find(desk: Desk, leg: Leg) -> store.Kept:
    """Return what the number of `leg` stands for, compared with its content."""
    return await store.find_leg(desk.db, leg.leg_no, app_id=leg.app_id, fingerprint=leg.fingerprint)


async def first_attempt(desk: Desk, leg: Leg) -> Attempt:
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
    if leg.original_attempt_no:
        found = await store.find_attempt(desk.db, leg.original_attempt_no, app_id=leg.app_id)
    else:
        found = (await store.find_leg(desk.db, leg.original_leg_no, app_id=leg.app_id)).attempt
    charged = found is not None and found.state in (State.SUCCEEDED, State.REVIEW)
    if found is None or not charged or found.leg_no != leg.original_leg_no:
        raise refuse(reasons.REASON_ORIGINAL_NOT_FOUND, original_leg_no=leg.original_leg_no)
    return found


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
        reported_currency_code="",
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
        closing=False,
        create_time=now,
        update_time=now,
    )


async def latest(desk: Desk, attempt: Attempt) -> Attempt:
    """Return the leg's latest attempt as it is now; `attempt` when that cannot be read."""
    try:
        kept = await store.find_leg(desk.db, attempt.leg_no, app_id=attempt.app_id)
    except (NotExecuted, Unknown):
        # The leg stands: to answer anything but an attempt would say that it does not.
        return attempt
    assert kept.attempt is not None, "a leg and its attempt are written together"
    return kept.attempt
