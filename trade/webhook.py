"""What a webhook is made of: its secret, its signature, its ladder (Standard Webhooks).

A receiver verifies a delivery by HMAC-SHA256 over `<webhook-id>.<webhook-timestamp>.<body>`
with the secret it got from CreateApp, and drops an id it has seen. The id is
`<number>:<version>`: the same id always carries the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from datetime import timedelta

PREFIX = "whsec_"
_SECRET_BYTES = 32
_S, _M, _H = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)

# How long after each failed try the next one is due; after the last one nobody tries again.
LADDER = (
    15 * _S, 15 * _S, 30 * _S, 3 * _M, 10 * _M, 20 * _M, 30 * _M, 30 * _M, 30 * _M, 60 * _M,
    3 * _H, 3 * _H, 3 * _H, 6 * _H, 6 * _H,
)  # fmt: skip


def new_secret() -> str:
    """Return a secret as an app is told it: `whsec_` and 32 random bytes in base64."""
    return PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def secret_place(app_id: str) -> str:
    """Return what the sealed secret of an app is bound to."""
    return f"app/webhook_secret/{app_id}"


def headers_of(webhook_id: str, body: bytes, *, secret: str, timestamp: int) -> Mapping[str, str]:
    """Return the headers of a delivery; `timestamp` is real seconds since 1970."""
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    key = base64.b64decode(secret.removeprefix(PREFIX))
    signature = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    return {
        "content-type": "application/json",
        "user-agent": "tongbao-webhook/1",
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{signature}",
    }
