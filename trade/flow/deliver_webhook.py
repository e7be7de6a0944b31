"""Deliver: send a due webhook once, log how it went, and say when to try again."""

from __future__ import annotations

import structlog

from mesh.clock import monotonic, real_seconds
from trade.desk import Desk
from trade.states import WEBHOOK, WebhookEvent, WebhookState
from trade.store.webhook import Tried, save_try
from trade.webhook import LADDER, headers_of, secret_place

log = structlog.get_logger()


async def deliver_webhook(
    desk: Desk,
    *,
    webhook_id: str,
    app_id: str,
    number: str,
    version: int,
    payload: bytes,
    tries: int,
) -> None:
    """Send the webhook to its app; only an answer 2xx ends it.

    `tries` is how many there were. After the last rung of the ladder it is EXHAUSTED.
    """
    app = await desk.directory.app(app_id)
    assert app is not None, "every row belongs to an app"
    secret = desk.seal.open(app.webhook_secret, place=secret_place(app_id))
    headers = headers_of(f"{number}:{version}", payload, secret=secret, timestamp=real_seconds())
    began = monotonic()
    sent = await desk.egress.post(app.webhook_url, body=payload, headers=headers)
    ms = int((monotonic() - began) * 1000)
    now = desk.clock.now()
    state, due_time = WebhookState.PENDING, None
    if not sent.problem:
        state = WEBHOOK.next(state, WebhookEvent.TAKEN)
    elif tries < len(LADDER):
        due_time = now + LADDER[tries]
    else:
        state = WEBHOOK.next(state, WebhookEvent.GIVEN_UP)
        log.error("webhook_exhausted", webhook_id=webhook_id, problem=sent.problem)
    await save_try(
        desk.db,
        Tried(
            webhook_id=webhook_id,
            app_id=app_id,
            tries=tries,
            state=state,
            due_time=due_time,
            status=sent.status,
            problem=sent.problem,
            ms=ms,
            time=now,
        ),
    )
