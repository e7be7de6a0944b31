"""Deliver: send a due webhook once, log how it went, and say when to try again."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import structlog

from mesh.clock import monotonic, real_seconds
from mesh.events import pack
from tongbao.trade.v1 import events_pb2
from trade.desk import Desk
from trade.egress import Sent
from trade.states import WEBHOOK, WebhookEvent, WebhookState
from trade.store.access import find_endpoint
from trade.store.webhook import Tried, save_try
from trade.webhook import EXHAUSTED, LADDER, Webhook, headers_of, secret_place
from trade.wire_access import webhook_to_proto

_NOWHERE = Sent(status=0, problem="the app has no url for webhooks")

log = structlog.get_logger()


async def deliver_webhook(desk: Desk, webhook: Webhook, *, payload: bytes) -> None:
    """Send the webhook to its app as it is now; only an answer 2xx ends it.

    It is signed with every secret that is valid. After the last rung of the ladder it is
    EXHAUSTED: an alarm, and an event for whoever opens the case.
    """
    began = monotonic()
    sent = await _send(desk, webhook, payload=payload)
    ms = int((monotonic() - began) * 1000)
    after = _after(webhook, sent, now=desk.clock.now())
    tried = Tried(
        webhook_id=webhook.webhook_id,
        app_id=webhook.app_id,
        tries=webhook.tries,
        resends=webhook.resends,
        by_hand=webhook.by_hand,
        state=after.state,
        due_time=after.due_time,
        status=sent.status,
        problem=sent.problem,
        ms=ms,
        time=after.update_time,
        event=_event(after),
    )
    if await save_try(desk.db, tried) and after.state is WebhookState.EXHAUSTED:
        EXHAUSTED.inc()
        log.error("webhook_exhausted", webhook_id=webhook.webhook_id, problem=sent.problem)


async def _send(desk: Desk, webhook: Webhook, *, payload: bytes) -> Sent:
    endpoint = await find_endpoint(desk.db, app_id=webhook.app_id)
    if not endpoint.url:
        return _NOWHERE
    place = secret_place(webhook.app_id)
    sealed = endpoint.valid_secrets(desk.clock.now())
    headers = headers_of(
        webhook.delivery_id,
        payload,
        secrets_valid=[desk.seal.open(one, place=place) for one in sealed],
        timestamp=real_seconds(),
    )
    return await desk.egress.post(endpoint.url, body=payload, headers=headers)


def _after(webhook: Webhook, sent: Sent, *, now: datetime) -> Webhook:
    """Return the webhook after a try that went so."""
    state, due_time = webhook.state, None
    if not sent.problem:
        state = WEBHOOK.next(state, WebhookEvent.TAKEN)
    elif webhook.tries < len(LADDER):
        due_time = now + LADDER[webhook.tries]
    else:
        state = WEBHOOK.next(state, WebhookEvent.GIVEN_UP)
    return replace(
        webhook,
        state=state,
        due_time=due_time,
        tries=webhook.tries + 1,
        by_hand=False,
        update_time=max(now, webhook.update_time),
    )


def _event(after: Webhook) -> bytes:
    """Return what tells that nobody tries again; empty while somebody does."""
    if after.state is not WebhookState.EXHAUSTED:
        return b""
    return pack(
        events_pb2.WebhookExhausted(webhook=webhook_to_proto(after)),
        number=after.webhook_id,
        version=after.tries,
        app_id=after.app_id,
        trace_no=after.trace_no,
        time=after.update_time,
    )
