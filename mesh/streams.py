"""JetStream as we use it: one stream per service, one writer, many readers.

PostgreSQL is the only source of truth; a stream is a copy that can be made again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg

REQUEST_SECONDS = 5.0
_TROUBLE_SECONDS = 0.5
_DAY_NS = 86_400 * 10**9
# Errors of JetStream that have a meaning for us.
WRONG_SEQUENCE = (10071, 10164)  # Expected last sequence differs: loss, or another writer.
_NAME_IN_USE, _NOT_FOUND = 10058, 10059
# A request for messages that ended as it should: nothing came, or its time is over.
_OVER = frozenset({"404", "408"})

log = structlog.get_logger()


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
        info = await ask(client, f"$JS.API.STREAM.INFO.{name}", b"")
    except StreamError as error:
        if error.code != _NOT_FOUND:
            raise
        info = await _create_stream(client, name, config)
    return StreamInfo(incarnation=info["created"], last_sequence=info["state"]["last_seq"])


async def _create_stream(client: Client, name: str, config: dict[str, Any]) -> dict[str, Any]:
    """Make the stream, unless somebody did so at this moment, and return where it stands."""
    try:
        return await ask(client, f"$JS.API.STREAM.CREATE.{name}", json.dumps(config).encode())
    except StreamError as error:
        if error.code != _NAME_IN_USE:
            raise
    return await ask(client, f"$JS.API.STREAM.INFO.{name}", b"")


async def overhear(url: str, service: str, heard: Callable[[bytes], None]) -> None:
    """Call `heard` with every message that `service` publishes from now on, until cancelled.

    Nothing is acknowledged and what is missed is not repeated: for wake-ups, never for effects.
    A service may overhear itself only.
    """

    async def pass_on(message: Msg) -> None:
        heard(message.data)

    while True:
        try:
            client = await connect(url, service)
        except StreamUnavailable as error:
            log.warning("nothing_heard", service=service, problem=str(error))
            await asyncio.sleep(_TROUBLE_SECONDS)
            continue
        try:  # The client connects and subscribes again by itself, for ever.
            await client.subscribe(subject_of(service), cb=pass_on)
            await asyncio.Event().wait()
        finally:
            await client.close()


class Pull:
    """The messages of one durable consumer as they come: one request asks for many of them.

    The client's own `fetch` makes two requests for each few messages that come.
    """

    def __init__(self, client: Client, *, stream: str, consumer: str, messages_max: int) -> None:
        self._client, self._messages_max = client, messages_max
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._inbox = client.new_inbox()
        self._came: asyncio.Queue[Msg] = asyncio.Queue()
        self._wanted = 0  # How many the open request may still bring.

    async def open(self) -> None:
        """Begin to listen."""

        async def keep(message: Msg) -> None:
            self._came.put_nowait(message)

        await self._client.subscribe(self._inbox, cb=keep)

    async def next(self, seconds: float) -> list[Msg]:
        """Return what has come, as soon as anything has; nothing after about `seconds`.

        Nothing at once means that there is no such consumer. A request is forgotten by a server
        that was started again, so it is made anew whenever nothing came.
        """
        while True:
            if self._wanted <= 0 and self._came.empty():
                await self._request(seconds)
            try:
                async with asyncio.timeout(seconds + REQUEST_SECONDS):
                    came = [await self._came.get()]
            except TimeoutError:
                self._wanted = 0
                return []
            while not self._came.empty():
                came.append(self._came.get_nowait())
            messages = [one for one in came if not _status_of(one)]
            self._wanted -= len(messages)
            told = {status for one in came if (status := _status_of(one))}
            if told:
                self._wanted = 0
            if messages or told - _OVER:
                return messages
            if told & _OVER:
                return []

    async def _request(self, seconds: float) -> None:
        wanted = {"batch": self._messages_max, "expires": int(seconds * 1e9)}
        await self._client.publish(self._subject, json.dumps(wanted).encode(), self._inbox)
        self._wanted = self._messages_max


def _status_of(message: Msg) -> str:
    """Return what JetStream says instead of a message; empty for a message."""
    return (message.headers or {}).get("Status", "") if not message.data else ""


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
