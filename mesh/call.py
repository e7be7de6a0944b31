"""Calls to neighbours: batches for what touches only their database, streams for what waits.

Every item that travels here is idempotent by a number of its own, so what was certainly not
executed is sent again within the deadline, as far as the budget allows, and so is a batch
whose connection broke under it: its answer says what became of the first one. Anything else
that may have been executed is the flow's to decide (Unknown).
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import grpc
import structlog

from mesh.batch import Coalescer, NotExecuted, Unknown
from mesh.clock import real_epoch
from mesh.context import acting, deadline, remaining, within
from mesh.errors import from_item_status
from mesh.tokens import Signer
from tongbao.common.v1 import item_pb2

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

BATCH_SECONDS = 5.0  # What a batch call may take at most.
AGAIN_MAX = 3  # How often a batch is sent again whose connection broke.
_MARGIN_SECONDS = 0.05  # What a hop keeps for its own answer.
_PACK_MAX = 512
_BACKOFF_SECONDS = (0.02, 0.5)

# A peer that is gone without a word is found in 2 s only with the ping time-out (L9).
CHANNEL_OPTIONS = (
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.max_receive_message_length", 4 << 20),
)

log = structlog.get_logger()


@dataclass(slots=True)
class Budget:
    """How many repeats a link may make: a tenth of its calls, so that an outage of the
    neighbour is not answered with a multiple of the load."""

    tokens: float = 100.0
    tokens_max: float = 100.0
    earned: float = 0.1

    def earn(self) -> None:
        """Count an answer."""
        self.tokens = min(self.tokens_max, self.tokens + self.earned)

    def spend(self) -> bool:
        """Return whether one more repeat may be made."""
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class Link(Generic[ItemT, ResultT]):
    """What batch and stream links share: the item's context, repeats, the item's status."""

    def __init__(self, method: str) -> None:
        self.method = method
        self._budget = Budget()

    async def ask(self, item: ItemT) -> ResultT:
        """Return the neighbour's answer to `item`, whose context is filled in here.

        Raises Declined (the neighbour refuses), NotExecuted, Unknown.
        """
        backoff, longest = _BACKOFF_SECONDS
        while True:
            _put_context(item)
            try:
                result: Any = await self._send(item)
                if result.HasField("status"):
                    raise from_item_status(result.status)
            except NotExecuted:
                pause = backoff * random.uniform(0.5, 1.5)  # noqa: S311 it only spreads load
                left = remaining()
                if (left is not None and left <= pause) or not self._budget.spend():
                    raise
                await asyncio.sleep(pause)
                backoff = min(backoff * 2, longest)
            else:
                self._budget.earn()
                answer: ResultT = result
                return answer

    async def _send(self, item: Any) -> Any:
        raise AssertionError("a batch or a stream link")


class BatchLink(Link[ItemT, ResultT]):
    """Items that wait at the same moment travel in one call of a `Batch…` rpc."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        signer: Signer,
        *,
        method: str,
        request: Callable[..., Any],
        response: type[Any],
        rows_max: int,
    ) -> None:
        super().__init__(method)
        self._signer, self._request = signer, request
        self._call: Any = channel.unary_unary(
            method,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=response.FromString,
        )
        self._coalescer: Coalescer[Any, Any] = Coalescer(
            self._flush, rows_max=rows_max, flights_max=2
        )

    async def _send(self, item: Any) -> Any:
        left = remaining()
        with within(BATCH_SECONDS if left is None else left):
            return await self._coalescer.submit(item)

    async def _flush(self, items: Sequence[Any]) -> Iterable[tuple[int, Any]]:
        request = self._request(items=items)
        ends = asyncio.get_running_loop().time() + BATCH_SECONDS
        try:
            response = await self._send_pack(request, ends)
        except grpc.aio.AioRpcError as error:
            if not _broke(error) or not self._budget.spend():
                raise _kind_of(error)(f"{self.method}: {error.details()}") from error
            response = await self._send_again(request, ends)
        return enumerate(response.results)

    async def _send_pack(self, request: Any, ends: float) -> Any:
        seconds = ends - asyncio.get_running_loop().time()
        return await self._call(request, timeout=seconds, metadata=_token(self._signer))

    async def _send_again(self, request: Any, ends: float) -> Any:
        """Return the answer to what may have arrived before; without one that is unknown.

        The channel may not know yet that its connection is dead: it is given a moment, and more.
        """
        problem = ""
        for attempt in range(AGAIN_MAX):
            await asyncio.sleep(_BACKOFF_SECONDS[0] * (attempt + 1))
            try:
                return await self._send_pack(request, ends)
            except grpc.aio.AioRpcError as error:
                problem = error.details() or ""
                if not _broke(error):
                    break
        raise Unknown(f"{self.method}: {problem}")

    async def close(self) -> None:
        """Return when nothing is in flight."""
        await self._coalescer.close()


@dataclass(slots=True, eq=False)
class _Waiting:
    """One item of a stream and who waits for its answer."""

    item: Any
    answer: asyncio.Future[Any]
    sent: bool = field(default=False)


class StreamLink(Link[ItemT, ResultT]):
    """Items go out in packs over one stream and are answered in any order, by `item_id`.

    When the stream breaks, items that were sent are Unknown, the others wait for the next
    stream. A neighbour that is about to leave says so by an empty pack: then nothing more is
    sent, what was sent is answered, and nothing breaks.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        signer: Signer,
        *,
        method: str,
        request: Callable[..., Any],
        response: type[Any],
    ) -> None:
        super().__init__(method)
        self._signer, self._request = signer, request
        self._open: Any = channel.stream_stream(
            method,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=response.FromString,
        )
        self._ids = itertools.count(1)
        self._waiting: dict[int, _Waiting] = {}
        self._queue: list[_Waiting] = []
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def _send(self, item: Any) -> Any:
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        loop, at = asyncio.get_running_loop(), deadline()
        if at is not None and at <= loop.time():
            raise NotExecuted(f"{self.method}: the deadline has passed")
        item_id = item.item_id = next(self._ids)
        waiting = _Waiting(item, loop.create_future())
        self._waiting[item_id] = waiting
        self._queue.append(waiting)
        self._wake.set()
        # A bare timer: `asyncio.timeout` for every item costs several times as much.
        timer = None if at is None else loop.call_at(at, self._give_up, waiting)
        try:
            return await waiting.answer
        finally:
            if timer is not None:
                timer.cancel()
            self._waiting.pop(item_id, None)

    def _give_up(self, waiting: _Waiting) -> None:
        """Tell whoever waits that the deadline has come."""
        if not waiting.answer.done():
            kind = Unknown if waiting.sent else NotExecuted
            problem = f"{self.method}: no answer within the deadline"
            waiting.answer.set_exception(kind(problem))

    async def close(self) -> None:
        """End the stream. Whoever still waits is told that the outcome is unknown."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        """Keep a stream open for as long as the link lives."""
        backoff, longest = _BACKOFF_SECONDS
        while True:
            answered = 0
            try:
                async for results in self._stream():
                    answered += 1
                    for result in results:
                        waiting = self._waiting.get(result.item_id)
                        if waiting is not None and not waiting.answer.done():
                            waiting.answer.set_result(result)
            except grpc.aio.AioRpcError as error:
                self._fail_sent(f"{self.method}: {error.details()}")
            finally:
                self._fail_sent(f"{self.method}: the stream ended")
            backoff = _BACKOFF_SECONDS[0] if answered else min(backoff * 2, longest)
            await asyncio.sleep(backoff)

    async def _stream(self) -> AsyncIterator[Any]:
        call = self._open(metadata=_token(self._signer))
        leaving = asyncio.Event()
        writer = asyncio.create_task(self._write(call, leaving=leaving))
        try:
            async for pack in call:
                if pack.results:
                    yield pack.results
                else:
                    leaving.set()
                    self._wake.set()
        finally:
            call.cancel()
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)  # Its error is the call's too.

    async def _write(self, call: Any, *, leaving: asyncio.Event) -> None:
        """Send what waits, as much as fits in a pack, while the one before is on its way."""
        await call.wait_for_connection()
        while True:
            await self._wake.wait()
            if leaving.is_set():
                await call.done_writing()
                return
            pack, self._queue = self._queue[:_PACK_MAX], self._queue[_PACK_MAX:]
            if not self._queue:
                self._wake.clear()
            pack = [waiting for waiting in pack if not waiting.answer.done()]
            if pack:
                for waiting in pack:
                    waiting.sent = True
                await call.write(self._request(items=[waiting.item for waiting in pack]))

    def _fail_sent(self, problem: str) -> None:
        for waiting in self._waiting.values():
            if waiting.sent and not waiting.answer.done():
                waiting.answer.set_exception(Unknown(problem))


def _put_context(item: Any) -> None:
    """Write on whose behalf we act into an item that leaves."""
    context: item_pb2.ItemContext = item.context
    owner = acting()
    context.app_id = context.app_id or owner.app_id
    context.trace_no = context.trace_no or owner.trace_no
    context.traceparent = owner.traceparent
    context.locale = owner.locale
    left = remaining()
    if left is not None:
        ends = real_epoch() + max(0.0, left - _MARGIN_SECONDS)
        context.deadline.seconds = int(ends)
        context.deadline.nanos = int(ends % 1 * 1e9)


def _token(signer: Signer) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {signer.token()}"),)


def _kind_of(error: grpc.aio.AioRpcError) -> type[Exception]:
    """UNAVAILABLE before a connection stood is definite; anything else may have arrived."""
    refused = error.code() is grpc.StatusCode.UNAVAILABLE
    never = refused and "failed to connect" in (error.details() or "").lower()
    return NotExecuted if never else Unknown


def _broke(error: grpc.aio.AioRpcError) -> bool:
    """Return whether the connection stood and broke under the call.

    So it goes when a neighbour dies, and once in thousands of times when it only has us make an
    old connection anew: it closes its end while a call is on its way, and on a unix socket
    writing into a closed end is an error before the GOAWAY in ours was read (seen with gRPC 1.85;
    never by TCP).
    """
    return error.code() is grpc.StatusCode.UNAVAILABLE and _kind_of(error) is Unknown
