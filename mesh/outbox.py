"""The relay: what statements wrote into the outbox goes to JetStream, whatever happens to it.

The outbox row keeps the sequence under which JetStream acknowledged it, so messages that
JetStream lost after that are noticed and published again (reliability.md §4.1): a stream
that was made anew, one that ends before what we know, one that refuses the sequence we
expect. One relay per service works at a time; a paused former one does no harm, because
message ids and expected sequences keep it from writing twice.

What many statements wrote meanwhile travels in one message (docs/decisions/0008).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import nats.errors
import psycopg
import structlog
from nats.aio.client import Client

from mesh import streams
from mesh.clock import monotonic
from mesh.telemetry import STREAM_LOSSES
from tongbao.common.v1 import event_pb2

ROWS_MAX = 200
PACK_BYTES_MAX = 256 * 1024  # About 500 events. A row is larger than this only alone.
GATHER_SECONDS = 0.03  # Between two messages, so that under load each carries many rows.
_LOOK_SECONDS = 1.0  # How often the stream is compared with what we believe of it.
_POLL_SECONDS = 0.5  # When nobody woke us: rows of another replica.
_TROUBLE_SECONDS = 0.2
_LOCK = 7_201  # Advisory lock, per schema.

log = structlog.get_logger()

_LEAD = "SELECT pg_try_advisory_lock(%s, hashtext(current_schema()))"
_UNPUBLISHED = """
SELECT outbox_id, events FROM outbox WHERE sequence IS NULL ORDER BY outbox_id LIMIT %s
"""
_STATE = "SELECT incarnation, sequence FROM relay_state WHERE stream = %s"
_ADOPT = """
INSERT INTO relay_state (stream, incarnation, sequence) VALUES (%(stream)s, %(incarnation)s,
    %(sequence)s)
ON CONFLICT (stream) DO UPDATE SET incarnation = excluded.incarnation,
    sequence = excluded.sequence
"""
_FORGET_ALL = "UPDATE outbox SET sequence = NULL WHERE sequence IS NOT NULL"
_FORGET_AFTER = "UPDATE outbox SET sequence = NULL WHERE sequence > %(sequence)s"
# One commit a message: what was published is marked when the next rows are read. The statement
# does not see its own marks, hence the second condition.
_PUBLISHED = """
WITH marked AS (
    UPDATE outbox SET sequence = %(sequence)s WHERE outbox_id = ANY(%(ids)s)
), known AS (
    UPDATE relay_state SET sequence = greatest(sequence, %(sequence)s) WHERE stream = %(stream)s
)
SELECT outbox_id, events FROM outbox
WHERE sequence IS NULL AND outbox_id <> ALL(%(ids)s) ORDER BY outbox_id LIMIT %(rows)s
"""


@dataclass(slots=True)
class Relay:
    """Publishes the outbox of one service until cancelled."""

    service: str
    dsn: str
    nats_url: str
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Lead when nobody else does; begin again after any trouble."""
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(
                    self.dsn, autocommit=True
                ) as connection:
                    await self._lead(connection)
            except (psycopg.Error, streams.StreamUnavailable, streams.StreamError) as error:
                log.warning("relay_interrupted", problem=str(error))
            except (nats.errors.Error, OSError, TimeoutError) as error:
                log.warning("relay_interrupted", problem=str(error))
            await asyncio.sleep(_TROUBLE_SECONDS)

    async def _lead(self, connection: psycopg.AsyncConnection) -> None:
        while True:
            cursor = await connection.execute(_LEAD, [_LOCK])
            [leads] = await cursor.fetchone() or (False,)
            if leads:
                break
            await asyncio.sleep(_POLL_SECONDS)
        client = await streams.connect(self.nats_url, self.service)
        try:
            await _Session(self.service, connection, client, self.wake).publish_for_ever()
        finally:
            await client.close()


class _Session:
    """One leadership: one connection to each side, and what we believe of the stream."""

    def __init__(
        self,
        service: str,
        connection: psycopg.AsyncConnection,
        client: Client,
        wake: asyncio.Event,
    ) -> None:
        self._service, self._stream = service, streams.stream_of(service)
        self._subject = streams.subject_of(service)
        self._connection, self._client, self._wake = connection, client, wake
        self._sequence = 0
        self._look_at = 0.0
        self._published: dict[str, Any] | None = None  # What JetStream has and is not marked yet.

    async def publish_for_ever(self) -> None:
        try:
            while True:
                if monotonic() >= self._look_at:
                    await self._heal()
                self._wake.clear()
                rows = await self._waiting()
                if rows:
                    await self._publish(_pack(rows))
                    await asyncio.sleep(GATHER_SECONDS)
                else:
                    await self._rest()
        finally:
            with suppress(psycopg.Error):  # Then it goes out again, which changes nothing.
                await self._waiting()

    async def _waiting(self) -> Sequence[tuple[int, bytes]]:
        """Mark what was published and return what waits, oldest first."""
        if self._published is None:
            cursor = await self._connection.execute(_UNPUBLISHED, [ROWS_MAX], binary=True)
        else:
            cursor = await self._connection.execute(_PUBLISHED, self._published, binary=True)
            self._published = None
        return await cursor.fetchall()

    async def _rest(self) -> None:
        """Return when somebody wrote, or when it is time to look."""
        try:
            async with asyncio.timeout(_POLL_SECONDS):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _heal(self) -> None:
        """Compare the stream with what we believe of it; what it lost is unpublished again."""
        if self._published is not None:
            await self._waiting()
        info = await streams.ensure_stream(self._client, self._service)
        cursor = await self._connection.execute(_STATE, [self._stream])
        known = await cursor.fetchone()
        incarnation, sequence = known or ("", 0)
        async with self._connection.transaction():
            if incarnation != info.incarnation:
                lost = (await self._connection.execute(_FORGET_ALL)).rowcount
                self._report_loss(lost, "the stream was made anew")
            elif info.last_sequence < sequence:
                after = {"sequence": info.last_sequence}
                lost = (await self._connection.execute(_FORGET_AFTER, after)).rowcount
                self._report_loss(lost, "the stream was rolled back")
            facts = {"stream": self._stream, "incarnation": info.incarnation}
            await self._connection.execute(_ADOPT, facts | {"sequence": info.last_sequence})
        self._sequence = info.last_sequence
        self._look_at = monotonic() + _LOOK_SECONDS

    def _report_loss(self, lost: int, problem: str) -> None:
        if lost:
            STREAM_LOSSES.inc()
            log.error("stream_lost_messages", stream=self._stream, rows=lost, problem=problem)

    async def _publish(self, rows: Sequence[tuple[int, bytes]]) -> None:
        """Publish `rows` as one message, in order, and keep where JetStream has it."""
        ids = [outbox_id for outbox_id, _ in rows]
        batch_id = batch_id_of(self._service, ids)
        headers = {
            "Nats-Msg-Id": batch_id,
            "Nats-Expected-Last-Sequence": str(self._sequence),
        }
        # Concatenating messages merges them: the id goes in front, nothing is parsed.
        head = event_pb2.EventBatch(batch_id=batch_id).SerializeToString()
        message = head + b"".join(events for _, events in rows)
        try:
            answer = await streams.ask(self._client, self._subject, message, headers)
        except streams.StreamError as error:
            if error.code not in streams.WRONG_SEQUENCE:
                raise
            self._look_at = 0.0  # Loss, or a former leader was quicker: look before we go on.
            return
        sequence = int(answer["seq"])
        # A duplicate is acknowledged with its old sequence, which must not take us back.
        self._sequence = max(self._sequence, sequence)
        marks = {"ids": ids, "sequence": sequence, "stream": self._stream}
        self._published = marks | {"rows": ROWS_MAX}


def batch_id_of(service: str, ids: Sequence[int]) -> str:
    """Return the id of the message that holds exactly the outbox rows `ids`.

    Rows that go out again after a loss may meet other neighbours then. Their message must not
    be taken for the one before, so its id says which rows are in it.
    """
    digest = sha256(",".join(map(str, ids)).encode()).hexdigest()[:16]
    return f"{service}-{ids[0]}-{digest}"


def _pack(rows: Sequence[tuple[int, bytes]]) -> Sequence[tuple[int, bytes]]:
    """Return the first of `rows` that fit into one message; at least one."""
    size = 0
    for place, (_, events) in enumerate(rows):
        size += len(events)
        if size > PACK_BYTES_MAX and place:
            return rows[:place]
    return rows
