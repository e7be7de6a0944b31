"""Receive: believe a callback, keep it, say so; then act on it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from channel.adapters.spi import (
    ChannelAdapter,
    Notification,
    RawNotification,
    Unreadable,
    Untrusted,
)
from channel.desk import Desk
from channel.flow.apply_result import apply_result
from channel.model import BALANCE, ChannelAccount
from channel.orders import adapter_of, spoken
from channel.store.callback import NewCallback, keep_callback
from channel.verdicts import Source
from mesh.context import Acting, acting_as

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
    look into, not the provider's to repeat. Otherwise, in this order: 404 for an account that
    is not there or not theirs, 400 for what cannot be read, 401 for what is not signed by it,
    404 for a number and kind that the account was never given; then nothing is kept.
    """
    account = await desk.accounts.get(channel_code)
    if account is None or account.channel_code == BALANCE:
        return Answer(404, b"")
    adapter = adapter_of(account)
    try:
        if adapter.peek(raw).provider_account != account.provider_account:
            return Answer(404, b"")
        told = adapter.read_notification(spoken(account), raw)
    except Unreadable:
        return _refused(adapter, 400)
    except Untrusted:
        return _refused(adapter, 401)
    attempt = None
    if _NUMBER.fullmatch(told.number):
        attempt = await keep_callback(desk.db, _callback(account, raw, told))
    if attempt is None:
        return _refused(adapter, 404)
    with acting_as(Acting(app_id=attempt.app_id, trace_no=attempt.trace_no)):
        desk.go_on(apply_result(desk, attempt, told.result, source=Source.CALLBACK))
    return Answer(200, adapter.ack(accepted=True))


def _refused(adapter: ChannelAdapter, status: int) -> Answer:
    return Answer(status, adapter.ack(accepted=False))


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
        body=raw.body,
        headers=headers,
        verdict=told.result.outcome,
    )
