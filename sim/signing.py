"""Both sides sign with the account's secret: HMAC-SHA256 in hex over head lines and the raw body.

A request and a callback sign `METHOD\\npath\\ntimestamp\\nnonce\\n` + body, a reply signs
`status\\ntimestamp\\nrequest nonce\\n` + body. The path is the request target as sent.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping

WINDOW_SECONDS = 300

ACCOUNT = "Sim-Account"
TIMESTAMP = "Sim-Timestamp"
NONCE = "Sim-Nonce"
SIGNATURE = "Sim-Signature"

_TIMESTAMP = re.compile(r"[0-9]{1,12}")
_NONCE = re.compile(r"[0-9A-Za-z_-]{1,64}")


def sign_request(
    secret: bytes, *, method: str, path: str, timestamp: str, nonce: str, body: bytes
) -> str:
    """Return the signature of a request or a callback."""
    head = to_bytes(f"{method}\n{path}\n{timestamp}\n{nonce}\n")
    return hmac.digest(secret, head + body, "sha256").hex()


def sign_reply(secret: bytes, *, status: int, timestamp: str, nonce: str, body: bytes) -> str:
    """Return the signature of a reply to the request that carried `nonce`."""
    head = to_bytes(f"{status}\n{timestamp}\n{nonce}\n")
    return hmac.digest(secret, head + body, "sha256").hex()


def is_signed(
    secret: bytes,
    *,
    account: str,
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes,
    now: int,
) -> bool:
    """Return whether `account` sent exactly this, at most WINDOW_SECONDS from `now`."""
    timestamp, nonce = headers.get(TIMESTAMP, ""), headers.get(NONCE, "")
    if headers.get(ACCOUNT) != account or not _NONCE.fullmatch(nonce):
        return False
    if not _TIMESTAMP.fullmatch(timestamp) or abs(now - int(timestamp)) > WINDOW_SECONDS:
        return False
    expected = sign_request(
        secret, method=method, path=path, timestamp=timestamp, nonce=nonce, body=body
    )
    return hmac.compare_digest(expected.encode(), to_bytes(headers.get(SIGNATURE, "")))


def to_bytes(text: str) -> bytes:
    """Return what stands in a head line as it travelled: it may be anything but ASCII."""
    return text.encode("utf-8", "surrogateescape")
