"""What a webhook is, and made of: its secret, its signature, its ladder (Standard Webhooks).

A receiver verifies a delivery by HMAC-SHA256 over `<webhook-id>.<webhook-timestamp>.<body>`
with the secret it got from CreateApp, and drops an id it has seen. The id is
`<number>:<version>`: the same id always carries the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from prometheus_client import Counter

from trade.states import WebhookState

EXHAUSTED = Counter(
    "tongbao_webhooks_exhausted_total", "Webhooks that nobody has taken, and nobody tries again."
)

PREFIX = "whsec_"
_SECRET_BYTES = 32
_S, _M, _H = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)

# How long after each failed try the next one is due; after the last one nobody tries again.
LADDER = (
    15 * _S, 15 * _S, 30 * _S, 3 * _M, 10 * _M, 20 * _M, 30 * _M, 30 * _M, 30 * _M, 60 * _M,
    3 * _H, 3 * _H, 3 * _H, 6 * _H, 6 * _H,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """One thing to tell an app: the committed state of `number` at `version`.

    `resends` is how often somebody asked for it by hand, `by_hand` that the next try is one of
    these.
    """

    webhook_id: str
    app_id: str
    trace_no: str
    number: str
    version: int
    type: str
    state: WebhookState
    due_time: datetime | None
    tries: int
    resends: int
    by_hand: bool
    create_time: datetime
    update_time: datetime

    @property
    def delivery_id(self) -> str:
        """Return what the receiver sees and drops when it comes again."""
        return f"{self.number}:{self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookAttempt:
    """One try to deliver. `status` is HTTP's, 0 when there was no answer; `ms` it took."""

    attempt_id: int
    webhook_id: str
    try_no: int
    by_hand: bool
    status: int
    problem: str
    ms: int
    create_time: datetime


def new_secret() -> str:
    """Return a secret as an app is told it: `whsec_` and 32 random bytes in base64."""
    return PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def secret_place(app_id: str) -> str:
    """Return what the sealed secret of an app is bound to."""
    return f"app/webhook_secret/{app_id}"


def headers_of(
    webhook_id: str, body: bytes, *, secrets_valid: Sequence[str], timestamp: int
) -> Mapping[str, str]:
    """Return the headers of a delivery; `timestamp` is real seconds since 1970.

    It is signed with every secret that is valid: two while a secret is rotated.
    """
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    signatures = " ".join(f"v1,{_signature(signed, secret)}" for secret in secrets_valid)
    return {
        "content-type": "application/json",
        "user-agent": "tongbao-webhook/1",
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signatures,
    }


def _signature(signed: bytes, secret: str) -> str:
    key = base64.b64decode(secret.removeprefix(PREFIX))
    return base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
