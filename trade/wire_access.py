"""Keys, endpoints and webhooks as the contract spells them."""

from __future__ import annotations

from datetime import datetime

from mesh.clock import to_timestamp
from tongbao.trade.v1 import app_key_pb2, webhook_pb2
from trade.access import AppKey, Endpoint
from trade.webhook import Webhook, WebhookAttempt


def key_to_proto(key: AppKey, *, now: datetime) -> app_key_pb2.AppKey:
    """Return the message of `key` as it is at `now`, in real time."""
    return app_key_pb2.AppKey(
        key_id=key.key_id,
        app_id=key.app_id,
        fingerprint=key.fingerprint,
        state=app_key_pb2.AppKey.State.Value(f"STATE_{key.state(now).name}"),
        create_time=to_timestamp(key.create_time),
        retire_time=None if key.retire_time is None else to_timestamp(key.retire_time),
    )


def endpoint_to_proto(endpoint: Endpoint, *, now: datetime) -> webhook_pb2.WebhookEndpoint:
    """Return the message of `endpoint` as it is at `now`; it never carries a secret."""
    until = endpoint.old_secret_until
    return webhook_pb2.WebhookEndpoint(
        app_id=endpoint.app_id,
        url=endpoint.url,
        old_secret_end_time=None if until is None or until <= now else to_timestamp(until),
    )


def webhook_to_proto(webhook: Webhook) -> webhook_pb2.Webhook:
    """Return the message of `webhook`."""
    due = webhook.due_time
    return webhook_pb2.Webhook(
        webhook_id=webhook.webhook_id,
        app_id=webhook.app_id,
        trace_no=webhook.trace_no,
        delivery_id=webhook.delivery_id,
        type=webhook.type,
        state=webhook_pb2.Webhook.State.Value(f"STATE_{webhook.state.name}"),
        tries=webhook.tries,
        resends=webhook.resends,
        due_time=None if due is None else to_timestamp(due),
        create_time=to_timestamp(webhook.create_time),
        update_time=to_timestamp(webhook.update_time),
    )


def attempt_to_proto(attempt: WebhookAttempt) -> webhook_pb2.WebhookAttempt:
    """Return the message of `attempt`."""
    return webhook_pb2.WebhookAttempt(
        webhook_id=attempt.webhook_id,
        try_no=attempt.try_no,
        by_hand=attempt.by_hand,
        http_status=attempt.status,
        problem=attempt.problem,
        duration_ms=attempt.ms,
        create_time=to_timestamp(attempt.create_time),
    )
