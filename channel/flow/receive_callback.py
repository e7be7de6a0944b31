"""Receive: believe a callback, keep it, say so; then act on it."""

from __future__ import annotations

import re
from dataclasses import dataclass

import structlog
from prometheus_client import Counter

from channel.adapters.spi import Notification, RawNotification, Unreadable, Untrusted
from channel.desk import Desk
from channel.flow.apply_result import apply_result
from channel.model import BALANCE, ChannelAccount
from channel.orders import adapter_of, spoken
from channel.store.callback import NewCallback, keep_callback
from channel.verdicts import Source
from mesh.context import Acting, acting_as

CALLBACKS = Counter(
    "tongbao_callbacks_total",
    "Callbacks by channel account and what became of them.",
    ["channel_code", "outcome"],
)

log = structlog.get_logger()

_NUMBER = re.compile(r"[0-9A-Z]{26}")
# Names of headers that may hold a credential; they are not kept.
_SECRET = frozenset({"authorization", "proxy-authorization", "cookie"})


@dataclass(frozen=True, slots=True)
class Answer:
    """What the provider is told: an HTTP status and a body."""

    status: int
    body: bytes


async def receive_callback(desk: Desk, channel_code: str, raw: RawNotification) -> Answer:
    """Return what to say to a callback that came for the channel account `channel_code`.

    200 and the provider's own word for it when the callback is kept; it is applied after
    that. A word that does not fit its attempt is kept and acknowledged too: it is ours to
    look into, not the provider's to repeat. A copy of what came before is counted in its row
    and applied again, for the first may have been lost before that. Otherwise, in this order:
    404 for an account that is not there or not theirs, 400 for what cannot be read, 401 for
    what is not signed by it, 404 for a number and kind that the account was never given; then
    nothing is kept. Each is counted by what became of it.
    """
    account = await desk.accounts.get(channel_code)
    if account is None or account.channel_code == BALANCE:
        # No label of its own: strangers could make as many as they like.
        CALLBACKS.labels("", "unknown_account").inc()
        return Answer(404, b"")
    adapter = adapter_of(account)
    try:
        if adapter.peek(raw).provider_account != account.provider_account:
            return _refused(account, 404, why="wrong_account")
        told = adapter.read_notification(spoken(account), raw)
    except Unreadable:
        return _refused(account, 400, why="unreadable")
    except Untrusted as error:
        # Somebody may be trying to have us believe in money that never moved.
        log.warning("callback_not_trusted", channel_code=channel_code, problem=str(error))
        return _refused(account, 401, why="untrusted")
    kept = None
    if _NUMBER.fullmatch(told.number):
        kept = await keep_callback(desk.db, _callback(account, raw, told))
    if kept is None:
        return _refused(account, 404, why="unknown_number")
    CALLBACKS.labels(channel_code, "copy" if kept.is_copy else "kept").inc()
    attempt = kept.attempt
    with acting_as(Acting(app_id=attempt.app_id, trace_no=attempt.trace_no)):
        desk.go_on(apply_result(desk, attempt, told.result, source=Source.CALLBACK))
    return Answer(200, adapter.ack(accepted=True))


def _refused(account: ChannelAccount, status: int, *, why: str) -> Answer:
    CALLBACKS.labels(account.channel_code, why).inc()
    return Answer(status, adapter_of(account).ack(accepted=False))


def _callback(account: ChannelAccount, raw: RawNotification, told: Notification) -> NewCallback:
    # A header may hold bytes that are no text; a row may not.
    headers = {
        name: value.encode("utf-8", "replace").decode()
        for name, value in raw.headers.items()
        if name not in _SECRET
    }
    return NewCallback(
        channel_code=account.channel_code,
        attempt_no=told.number,
        operation=told.operation,
        dedup_key=told.dedup_key,
        body=raw.body,
        headers=headers,
        verdict=told.result.outcome,
    )
