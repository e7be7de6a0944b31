"""The consumer: events of other services become effects in our schema, each exactly once.

Effects are keyed: a booking by its transfer ids, a clearing item by its source, a move by
the version it starts from. A batch that comes twice, or half-way, does no harm; the inbox
row that is written when all effects of a batch are durable only saves the work. The message
is acknowledged after that row (docs/decisions/0003).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import nats.errors
import structlog
from google.protobuf.message import DecodeError, Message
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.errors import Error as JetStreamError

from mesh import streams
from mesh.batch import NotExecuted, Undone, Unknown
from mesh.clock import monotonic
from mesh.context import Acting, acting_as, within
from mesh.db import Database
from mesh.telemetry import DEAD_LETTERS, EVENTS_APPLIED
from tongbao.common.v1 import event_pb2

Desk = TypeVar("Desk")
Handler = Callable[[Desk, Any], Awaitable[Any]]

FETCH_MAX = 32  # Messages, each up to 512 events.
_FETCH_SECONDS = 5.0
_EFFECT_SECONDS = 20.0
_ACK_WAIT_SECONDS = 30
_TRIES_MAX = 3  # For an event that breaks its handler, before it is set aside.
_TROUBLE_SECONDS = 0.5
_NAK_SECONDS = 1.0

log = structlog.get_logger()

_SEEN = "SELECT batch_id FROM inbox WHERE consumer = %(consumer)s AND batch_id = ANY(%(batches)s)"
_DONE = """
INSERT INTO inbox (consumer, batch_id) SELECT %(consumer)s, unnest(%(batches)s::text[])
ON CONFLICT DO NOTHING
"""
_SET_ASIDE = """
INSERT INTO dead_letter (consumer, batch_id, place, event, problem)
VALUES (%(consumer)s, %(batch)s, %(place)s, %(event)s, %(problem)s) ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class _Delivery:
    """One message and the batch in it."""

    message: Msg
    batch: event_pb2.EventBatch


class Consumer(Generic[Desk]):
    """Applies the events of `source` by `handlers`, keyed by event message."""

    def __init__(
        self,
        *,
        service: str,
        source: str,
        handlers: Mapping[type[Message], Handler[Desk]],
        nats_url: str,
        db: Database,
        desk: Desk,
    ) -> None:
        self._service, self._source = service, source
        self._handlers = {
            kind.DESCRIPTOR.full_name: (kind, handler) for kind, handler in handlers.items()
        }
        self._nats_url, self._db, self._desk = nats_url, db, desk
        self._consumer = f"{service}_from_{source}"

    async def run(self) -> None:
        """Apply what comes, until cancelled; begin again after any trouble."""
        while True:
            try:
                client = await streams.connect(self._nats_url, self._service)
                try:
                    await self._apply_for_ever(client)
                finally:
                    await client.close()
            except (streams.StreamUnavailable, streams.StreamError) as error:
                log.warning("consumer_interrupted", source=self._source, problem=str(error))
            except (nats.errors.Error, JetStreamError, OSError, TimeoutError) as error:
                log.warning("consumer_interrupted", source=self._source, problem=str(error))
            except (NotExecuted, Unknown, Undone) as error:
                log.warning("consumer_interrupted", source=self._source, problem=str(error))
            await asyncio.sleep(_TROUBLE_SECONDS)

    async def _apply_for_ever(self, client: Client) -> None:
        await self._ensure_consumer(client)
        subscription = await client.jetstream().pull_subscribe_bind(
            self._consumer, streams.stream_of(self._source)
        )
        look_at = monotonic() + _FETCH_SECONDS
        while True:
            try:
                messages = await subscription.fetch(FETCH_MAX, timeout=_FETCH_SECONDS)
            except TimeoutError:  # Of NATS or of asyncio: both mean that nothing came.
                messages = []
            if messages:
                await self._apply(messages)
            elif monotonic() >= look_at:  # A wiped store forgets its consumers.
                await self._ensure_consumer(client)
                look_at = monotonic() + _FETCH_SECONDS

    async def _ensure_consumer(self, client: Client) -> None:
        """Make stream and consumer unless they are there."""
        await streams.ensure_stream(client, self._source)
        stream = streams.stream_of(self._source)
        config = {
            "durable_name": self._consumer,
            "ack_policy": "explicit",
            "ack_wait": _ACK_WAIT_SECONDS * 10**9,
            "max_deliver": -1,
            "max_ack_pending": FETCH_MAX * 8,
            "deliver_policy": "all",
        }
        subject = f"$JS.API.CONSUMER.DURABLE.CREATE.{stream}.{self._consumer}"
        request = {"stream_name": stream, "config": config}
        await streams.ask(client, subject, json.dumps(request).encode())

    async def _apply(self, messages: Sequence[Msg]) -> None:
        """Apply the batches of `messages` at once; acknowledge what is durable."""
        deliveries = []
        for message in messages:
            try:
                batch = event_pb2.EventBatch.FromString(message.data)
            except DecodeError:
                await self._set_aside_bytes(message)
            else:
                deliveries.append(_Delivery(message, batch))
        batches = [delivery.batch.batch_id for delivery in deliveries]
        rows = await self._db.rows(_SEEN, consumer=self._consumer, batches=batches)
        seen = {row.batch_id for row in rows}
        fresh = [one for one in deliveries if one.batch.batch_id not in seen]
        applied = await asyncio.gather(*(self._apply_batch(one) for one in fresh))
        done = [one.batch.batch_id for one, ok in zip(fresh, applied, strict=True) if ok]
        if done:
            await self._db.rows(_DONE, consumer=self._consumer, batches=done)
        finished = seen | set(done)
        for delivery in deliveries:
            if delivery.batch.batch_id in finished:
                await delivery.message.ack()
            else:
                await delivery.message.nak(delay=_NAK_SECONDS)

    async def _apply_batch(self, delivery: _Delivery) -> bool:
        """Return whether every event of the batch has had its effect, or was set aside."""
        tries = delivery.message.metadata.num_delivered or 1
        events = delivery.batch.events
        applied = await asyncio.gather(
            *(
                self._apply_event(event, batch=delivery.batch.batch_id, place=place, tries=tries)
                for place, event in enumerate(events)
                if event.type in self._handlers
            )
        )
        EVENTS_APPLIED.labels(self._source).inc(sum(applied))
        return all(applied)

    async def _apply_event(
        self, event: event_pb2.Event, *, batch: str, place: int, tries: int
    ) -> bool:
        kind, handler = self._handlers[event.type]
        owner = Acting(app_id=event.app_id, trace_no=event.trace_no, traceparent=event.traceparent)
        try:
            with acting_as(owner), within(_EFFECT_SECONDS):
                await handler(self._desk, kind.FromString(event.payload))
        except (NotExecuted, Unknown) as error:
            log.warning("event_not_applied", event_id=event.event_id, problem=str(error))
            return False
        except Exception as error:  # A poison event must not hold up all that follow it.
            log.exception("event_broke", event_id=event.event_id, tries=tries)
            if tries < _TRIES_MAX:
                return False
            kept = event.SerializeToString()
            await self._set_aside(kept, batch=batch, place=place, problem=repr(error))
        return True

    async def _set_aside_bytes(self, message: Msg) -> None:
        """Keep a message that is no EventBatch: it must not hold up all that follow it."""
        sequence = message.metadata.sequence.stream
        log.error("message_broke", source=self._source, sequence=sequence)
        batch, problem = f"{self._source}-sequence-{sequence}", "not an EventBatch"
        await self._set_aside(message.data, batch=batch, place=0, problem=problem)
        await message.ack()

    async def _set_aside(self, event: bytes, *, batch: str, place: int, problem: str) -> None:
        DEAD_LETTERS.labels(self._source).inc()
        await self._db.rows(
            _SET_ASIDE,
            consumer=self._consumer,
            batch=batch,
            place=place,
            event=event,
            problem=problem[:1000],
        )
