"""The consumer: events of other services become effects in our schema, each exactly once.

Effects are keyed: a booking by its transfer ids, a clearing item by its source, a move by
the version it starts from. A batch that comes twice, or half-way, does no harm, so a message is
acknowledged when its effects are durable; the inbox row that follows only saves the work of a
batch that is delivered again (docs/decisions/0003, 0017).
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
from opentelemetry.trace import SpanKind

from mesh import streams
from mesh.batch import NotExecuted, Undone, Unknown
from mesh.clock import monotonic
from mesh.context import Acting, act_as, act_within
from mesh.db import Database
from mesh.duty import Leaving, unbroken
from mesh.logging import debugging
from mesh.redact import conceal, hold
from mesh.telemetry import DEAD_LETTERS, EVENTS_APPLIED, INBOX_LAG, traced
from tongbao.common.v1 import event_pb2

Desk = TypeVar("Desk")
Handler = Callable[[Desk, Any], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Only(Generic[Desk]):
    """A handler for those events alone of which `when` says that there is something to do.

    `when` looks at what is in memory; an event that it passes over costs nothing else.
    """

    when: Callable[[Desk, Any], bool]
    handler: Handler[Desk]

    async def __call__(self, desk: Desk, event: Any) -> Any:
        """Handle the event."""
        return await self.handler(desk, event)


FETCH_MAX = 32  # Messages, each up to 512 events.
_FETCH_SECONDS = 5.0
_EFFECT_SECONDS = 20.0
_ACK_WAIT_SECONDS = 30
_TRIES_MAX = 3  # For an event that breaks its handler, before it is set aside.
_TROUBLE_SECONDS = 0.5
_NAK_SECONDS = 1.0
_NOTE_SECONDS = 0.1  # Between two writes of inbox rows: nobody waits for them.

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
        self._done: list[str] = []  # Batches that were applied and have no inbox row yet.
        self._noting: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Apply what comes, until cancelled; begin again after any trouble."""
        try:
            await self._run()
        finally:
            if self._noting is not None:
                await asyncio.wait([self._noting])

    async def _run(self) -> None:
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
        pull = streams.Pull(
            client,
            stream=streams.stream_of(self._source),
            consumer=self._consumer,
            messages_max=FETCH_MAX,
        )
        await pull.open()
        while True:
            asked_at = monotonic()
            messages = await pull.next(_FETCH_SECONDS)
            if messages:
                INBOX_LAG.labels(self._source).set(messages[-1].metadata.num_pending)
                try:
                    with unbroken():
                        await self._apply(messages)
                except Leaving:
                    for message in messages:
                        await message.nak()
                    raise
            else:  # A wiped store forgets its consumers.
                if monotonic() < asked_at + _TROUBLE_SECONDS:
                    await asyncio.sleep(_TROUBLE_SECONDS)
                await self._ensure_consumer(client)

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
        info = await streams.ask(client, subject, json.dumps(request).encode())
        INBOX_LAG.labels(self._source).set(info["num_pending"])

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
        seen = await self._seen(deliveries)
        fresh = [one for one in deliveries if one.batch.batch_id not in seen]
        applied = await asyncio.gather(*(self._apply_batch(one) for one in fresh))
        done = {one.batch.batch_id for one, ok in zip(fresh, applied, strict=True) if ok}
        for delivery in deliveries:
            if delivery.batch.batch_id in seen or delivery.batch.batch_id in done:
                await delivery.message.ack()
            else:
                await delivery.message.nak(delay=_NAK_SECONDS)
        self._done += done
        if self._done and self._noting is None:
            self._noting = asyncio.create_task(self._note())

    async def _seen(self, deliveries: Sequence[_Delivery]) -> set[str]:
        """Return the batches that were applied before; only a redelivery can be one."""
        again = [one.batch.batch_id for one in deliveries if _tries_of(one) > 1]
        if not again:
            return set()
        rows = await self._db.rows(_SEEN, consumer=self._consumer, batches=again)
        return {row.batch_id for row in rows}.union(self._done).intersection(again)

    async def _note(self) -> None:
        """Write the inbox rows that wait, after a moment in which more of them may come."""
        try:
            while self._done:
                batches, self._done = self._done, []
                await self._db.rows(_DONE, consumer=self._consumer, batches=batches)
                await asyncio.sleep(_NOTE_SECONDS)
        except (NotExecuted, Unknown, Undone) as error:  # The work may be done twice then.
            log.warning("batches_not_noted", source=self._source, problem=str(error))
        finally:
            self._noting = None

    async def _apply_batch(self, delivery: _Delivery) -> bool:
        """Return whether every event of the batch has had its effect, or was set aside."""
        tries, batch_id = _tries_of(delivery), delivery.batch.batch_id
        count = 0
        work = []
        for place, event in enumerate(delivery.batch.events):
            if event.type not in self._handlers:
                continue
            count += 1
            heard = self._db.heard.take(event.number, event.version)
            if heard is not None and heard.done() and heard.result():
                continue
            if heard is None and self._needs_nothing(event):
                continue
            work.append(self._apply_event(event, heard, batch=batch_id, place=place, tries=tries))
        applied = await asyncio.gather(*work)
        failed = applied.count(False)
        EVENTS_APPLIED.labels(self._source).inc(count - failed)
        return not failed

    def _needs_nothing(self, event: event_pb2.Event) -> bool:
        """Return whether the handler says that it has nothing to do."""
        kind, handler = self._handlers[event.type]
        if not isinstance(handler, Only):
            return False
        try:
            return not handler.when(self._desk, kind.FromString(event.payload))
        except DecodeError:
            return False  # Found again, and told, by whoever applies it.

    async def _apply_event(
        self,
        event: event_pb2.Event,
        heard: asyncio.Future[bool] | None,
        *,
        batch: str,
        place: int,
        tries: int,
    ) -> bool:
        """Return whether the event has had its effect; `heard` is a call that brings it too.

        Runs in a task of its own, so what it sets for the handler need not be taken back.
        """
        if heard is not None and await heard:
            return True
        kind, handler = self._handlers[event.type]
        message = kind.FromString(event.payload)
        hold(message)
        owner = Acting(app_id=event.app_id, trace_no=event.trace_no, traceparent=event.traceparent)
        try:
            with traced(event.type, owner, kind=SpanKind.CONSUMER) as below:
                act_as(below)
                act_within(_EFFECT_SECONDS)
                await handler(self._desk, message)
                if debugging():
                    log.debug("event_applied", event_id=event.event_id)
        except (NotExecuted, Unknown) as error:
            log.warning("event_not_applied", event_id=event.event_id, problem=str(error))
            return False
        except Exception as error:  # A poison event must not hold up all that follow it.
            log.exception("event_broke", event_id=event.event_id, tries=tries)
            if tries < _TRIES_MAX:
                return False
            kept = event.SerializeToString()
            await self._set_aside(kept, batch=batch, place=place, problem=conceal(repr(error)))
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


def _tries_of(delivery: _Delivery) -> int:
    """Return how often the message was delivered, this time included."""
    return delivery.message.metadata.num_delivered or 1
