"""JetStream as we use it: one stream per service, one writer, many readers.

PostgreSQL is the only source of truth; a stream is a copy that can be made again.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import nats.errors
from nats.aio.client import Client

REQUEST_SECONDS = 5.0
_DAY_NS = 86_400 * 10**9
# Errors of JetStream that have a meaning for us.
WRONG_SEQUENCE = (10071, 10164)  # Expected last sequence differs: loss, or another writer.
_NAME_IN_USE = 10058


class StreamError(Exception):
    """JetStream refused a request. `code` is its err_code."""

    def __init__(self, error: dict[str, Any]) -> None:
        self.code = int(error.get("err_code", 0))
        super().__init__(f"{self.code} {error.get('description', '')}")


class StreamUnavailable(Exception):
    """NATS did not answer, or not as JetStream answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamInfo:
    """What tells one incarnation of a stream from another, and how far it goes."""

    incarnation: str
    last_sequence: int


def stream_of(service: str) -> str:
    """Return the name of the stream that holds the events of `service`."""
    return f"tongbao_{service}"


def subject_of(service: str) -> str:
    """Return the subject on which only `service` publishes."""
    return f"tongbao.{service}.v1"


async def connect(url: str, service: str) -> Client:
    """Return a connection that reconnects for ever. Raises StreamUnavailable."""

    async def quiet(_: Exception) -> None:
        """Errors of the connection show where it is used."""

    client = Client()
    try:
        await client.connect(
            url,
            name=f"tongbao-{service}",
            inbox_prefix=f"_INBOX.{service}".encode(),
            connect_timeout=2,
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.2,  # type: ignore[arg-type]  # It sleeps for as long as it is.
            error_cb=quiet,
        )
    except (nats.errors.Error, OSError, TimeoutError) as error:
        raise StreamUnavailable(str(error)) from error
    except asyncio.CancelledError:
        await client.close()  # Or its half-open connection would stay.
        raise
    return client


async def ensure_stream(client: Client, service: str) -> StreamInfo:
    """Make the stream of `service` unless it is there; return where it stands.

    Kept by limits for eight days, so that deduplication knows consumed messages too; a full
    stream refuses, it never drops silently (reliability.md §4.1, decisions.md 8).
    """
    name = stream_of(service)
    config = {
        "name": name,
        "subjects": [subject_of(service)],
        "storage": "file",
        "retention": "limits",
        "discard": "new",
        "deny_delete": True,
        "deny_purge": True,
        "duplicate_window": 600 * 10**9,
        "max_age": 8 * _DAY_NS,
    }
    try:
        await ask(client, f"$JS.API.STREAM.CREATE.{name}", json.dumps(config).encode())
    except StreamError as error:
        if error.code != _NAME_IN_USE:
            raise
    info = await ask(client, f"$JS.API.STREAM.INFO.{name}", b"")
    return StreamInfo(incarnation=info["created"], last_sequence=info["state"]["last_seq"])


async def ask(
    client: Client, subject: str, data: bytes, headers: dict[str, str] | None = None
) -> dict[str, Any]:
    """Return JetStream's answer. Raises StreamError when it refuses, StreamUnavailable."""
    try:
        reply = await client.request(subject, data, timeout=REQUEST_SECONDS, headers=headers)
    except (nats.errors.Error, OSError, TimeoutError) as error:
        raise StreamUnavailable(str(error) or type(error).__name__) from error
    answer: dict[str, Any] = json.loads(reply.data) if reply.data else {}
    if "error" in answer:
        raise StreamError(answer["error"])
    return answer
