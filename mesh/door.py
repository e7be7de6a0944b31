"""What every call passes before its flow and after it, in one interceptor.

In this order: bytes that are no message, who calls, whether they may (mesh.policy), their
limits and room (mesh.gate), the fields, the deadline; then the flow; then its error as a rich
status. One layer of our own costs a tenth of six generic ones, and no servicer ever touches a
status code.

The work is detached from the call: when the caller stops waiting the flow goes on to its
end (reliability.md D6), because a charge that was sent must be recorded.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, TypeAlias, TypeVar

import grpc
import structlog
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message
from google.rpc import code_pb2
from grpc_status import rpc_status

from buf.validate import validate_pb2
from mesh.clock import monotonic
from mesh.context import Acting, act_as, acting_as, within
from mesh.crew import Crew
from mesh.errors import KNOWN, refuse, to_status
from mesh.gate import Gate, Place
from mesh.logging import debugging
from mesh.policy import Rule, rule_of
from mesh.redact import hold
from mesh.spoken import spoken, until
from mesh.telemetry import CALL_SECONDS, span, tag_span
from mesh.tokens import Identity
from mesh.wire import check
from tongbao.common.v1 import options_pb2
from tongbao.common.v1 import reasons_pb2 as reasons

Context = grpc.aio.ServicerContext[Any, Any]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"  # Generic in the stubs only.
T = TypeVar("T")

DEADLINE_SECONDS = 5.0  # On the public port, for callers that bring none.
STREAM_SECONDS = 3600.0  # The same for calls that are answered by a stream.
_STREAM_AHEAD = 16  # Answers that wait for a caller who reads slowly.
_OPEN = ("grpc.health.", "grpc.reflection.", "grpc.channelz.")

log = structlog.get_logger()


class _NoMessage:
    """Stands for bytes that could not be read; a deserializer may not raise (L4)."""


_NO_MESSAGE = _NoMessage()


@dataclass(frozen=True, slots=True)
class _Entry:
    """A call that came in: who, with which metadata, what it holds, how long somebody waits."""

    identity: Identity
    metadata: Mapping[str, str]
    place: Place
    seconds: float

    @contextmanager
    def acting(self, name: str) -> Iterator[None]:
        """Work on behalf of the caller inside the block, in a span of its own."""
        with (
            within(self.seconds),
            span(name, traceparent=self.metadata.get("traceparent", "")) as traceparent,
            acting_as(_acting(self.identity, self.metadata, traceparent)),
        ):
            try:
                yield
            finally:
                tag_span()


class Doorkeeper(grpc.aio.ServerInterceptor):
    """Installed on every server; `public` says whether a deadline may be left out."""

    def __init__(self, gate: Gate, crew: Crew, *, public: bool) -> None:
        self._gate, self._crew, self._public = gate, crew, public
        self._wrapped: dict[str, Handler] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Return the handler of the method behind its door."""
        method = handler_call_details.method
        if found := self._wrapped.get(method):
            return found
        handler = await continuation(handler_call_details)
        if handler is None or method.lstrip("/").startswith(_OPEN):
            return handler
        wrapped = self._wrapped[method] = self._wrap(handler, method)
        return wrapped

    def _wrap(self, handler: Handler, method: str) -> Handler:
        rule = rule_of(method)
        name = method.lstrip("/")
        kinds: tuple[tuple[Any, Any, Any], ...] = (
            (handler.unary_unary, grpc.unary_unary_rpc_method_handler, self._unary),
            (handler.unary_stream, grpc.unary_stream_rpc_method_handler, self._watch),
            (handler.stream_stream, grpc.stream_stream_rpc_method_handler, self._stream),
        )
        found = [kind for kind in kinds if kind[0] is not None]
        assert found, f"{name}: no door for this kind of method"
        [(inner, make, door)] = found
        wrapped: Handler = make(
            door(inner, name=name, rule=rule),
            request_deserializer=_forgiving(handler.request_deserializer),
            response_serializer=handler.response_serializer,
        )
        return wrapped

    def _unary(self, method: Callable[..., Any], *, name: str, rule: Rule) -> Callable[..., Any]:
        async def call(request: Message | _NoMessage, context: Context) -> Any:
            began, code = monotonic(), "CANCELLED"
            try:
                answer = await self._carry_out(method, request, context, name=name, rule=rule)
                code = "OK"
                return answer
            except KNOWN as error:
                status = to_status(error)
                code = code_pb2.Code.Name(status.code)
            except Exception as error:  # A bug: the caller gets its id, the log the rest.
                status = to_status(error)
                code = "INTERNAL"
                log.exception("call_broke", method=name, status=status.message)
            finally:
                CALL_SECONDS.labels(name, code).observe(monotonic() - began)
            return await context.abort_with_status(rpc_status.to_status(status))

        return call

    async def _carry_out(
        self,
        method: Callable[..., Coroutine[Any, Any, Any]],
        request: Message | _NoMessage,
        context: Context,
        *,
        name: str,
        rule: Rule,
    ) -> Any:
        entry = await self._enter(request, context, name=name, rule=rule)

        async def work() -> Any:
            ok = False
            try:
                with entry.acting(name):
                    answer = await method(request, context)
                    if debugging():
                        log.debug("call_answered", method=name)
                ok = True
                return answer
            finally:  # When the work has ended, not when the caller has gone.
                entry.place.leave(ok=ok)

        return await self._crew.finish(work())

    def _watch(
        self, method: Callable[..., AsyncIterator[Any]], *, name: str, rule: Rule
    ) -> Callable[..., AsyncIterator[Any]]:
        """Return the door of a method that answers one request by a stream."""

        async def call(request: Message | _NoMessage, context: Context) -> AsyncIterator[Any]:
            began, code = monotonic(), "CANCELLED"
            try:
                async for answer in self._answers(method, request, context, name=name, rule=rule):
                    yield answer
                code = "OK"
                return
            except KNOWN as error:
                status = to_status(error)
                code = code_pb2.Code.Name(status.code)
            except Exception as error:  # A bug: the caller gets its id, the log the rest.
                status = to_status(error)
                code = "INTERNAL"
                log.exception("stream_broke", method=name, status=status.message)
            finally:
                CALL_SECONDS.labels(name, code).observe(monotonic() - began)
            await context.abort_with_status(rpc_status.to_status(status))

        return call

    async def _answers(
        self,
        method: Callable[..., AsyncIterator[Any]],
        request: Message | _NoMessage,
        context: Context,
        *,
        name: str,
        rule: Rule,
    ) -> AsyncIterator[Any]:
        """Yield what `method` says. Raises what it raises, and STREAM_ENDED.

        The method runs in a task of its own: the contexts of the caller are set there, and
        a generator that is left half-way could not take them back.
        """
        entry = await self._enter(request, context, name=name, rule=rule, is_stream=True)
        said: asyncio.Queue[Any] = asyncio.Queue(_STREAM_AHEAD)

        async def work() -> None:
            with entry.acting(name):
                async for answer in method(request, context):
                    await said.put(answer)

        try:
            async for answer in spoken(
                said,
                asyncio.create_task(work()),
                drained=self._crew.drained,
                lapse=self._gate.lapse(entry.metadata),
                seconds=entry.seconds,
            ):
                yield answer
        finally:
            entry.place.leave(ok=False)

    def _stream(
        self, method: Callable[..., AsyncIterator[Any]], *, name: str, rule: Rule
    ) -> Callable[..., AsyncIterator[Any]]:
        async def call(requests: AsyncIterator[Any], context: Context) -> AsyncIterator[Any]:
            try:
                metadata = _plain(context.invocation_metadata())
                identity = await self._gate.identify(metadata, rule)
                if identity.role == options_pb2.ROLE_SERVICE:  # It stands as long as the link.
                    packs = method(_readable(requests), context)
                else:
                    packs = self._exchanged(
                        partial(method, context=context),
                        requests,
                        metadata=metadata,
                        identity=identity,
                        name=name,
                        rule=rule,
                    )
                async for pack in packs:
                    yield pack
                return
            except KNOWN as error:
                status = to_status(error)
            except Exception as error:  # A bug; errors of items never come this far.
                status = to_status(error)
                log.exception("stream_broke", method=name, status=status.message)
            await context.abort_with_status(rpc_status.to_status(status))

        return call

    async def _exchanged(
        self,
        method: Callable[..., AsyncIterator[Any]],
        requests: AsyncIterator[Any],
        *,
        metadata: Mapping[str, str],
        identity: Identity,
        name: str,
        rule: Rule,
    ) -> AsyncIterator[Any]:
        """Yield the packs of an app's stream, whose items are all its own.

        When its token is good no more it is as if the caller had ended its stream: what was
        read is answered, then TOKEN_EXPIRED or TOKEN_INVALID is raised. A pack of more items than
        it may have raises INVALID_FIELDS: of one message there could be a hundred thousand.
        """
        place = await self._gate.enter(identity, rule, method=name, items=1, is_stream=True)
        lapse = asyncio.ensure_future(self._gate.lapse(metadata))

        async def read() -> AsyncIterator[Any]:
            async for request in until(_readable(requests), lapse):
                _check(request)
                await self._gate.pace(place, len(request.items))
                yield request

        act_as(_acting(identity, metadata, metadata.get("traceparent", "")))
        try:
            async for pack in method(read()):
                yield pack
            if lapse.done():
                raise lapse.result()
        finally:
            lapse.cancel()
            place.leave(ok=False)

    async def _enter(
        self,
        request: Message | _NoMessage,
        context: Context,
        *,
        name: str,
        rule: Rule,
        is_stream: bool = False,
    ) -> _Entry:
        """Return what a call brings that may come in; its place must be left.

        Raises Refused, in this order: MALFORMED_BYTES, TOKEN_INVALID, TOKEN_EXPIRED,
        PERMISSION_DENIED, RATE_LIMITED, TOO_MANY_IN_FLIGHT, OVERLOADED, INVALID_FIELDS,
        DEADLINE_REQUIRED, DEADLINE_PASSED.
        """
        if isinstance(request, _NoMessage):
            raise refuse(reasons.REASON_MALFORMED_BYTES)
        hold(request)
        metadata = _plain(context.invocation_metadata())
        identity = await self._gate.identify(metadata, rule)
        place = await self._gate.enter(
            identity, rule, method=name, items=_items_of(request), is_stream=is_stream
        )
        try:
            _check(request)
            seconds = self._seconds(
                context, default=STREAM_SECONDS if is_stream else DEADLINE_SECONDS
            )
        except BaseException:
            place.leave(ok=False)
            raise
        return _Entry(identity, metadata, place, seconds)

    def _seconds(self, context: Context, *, default: float) -> float:
        """Return how long the caller waits. Raises DEADLINE_REQUIRED, DEADLINE_PASSED."""
        seconds = context.time_remaining()
        if seconds is None:
            if not self._public:
                raise refuse(reasons.REASON_DEADLINE_REQUIRED)
            return default
        if seconds <= 0:
            raise refuse(reasons.REASON_DEADLINE_PASSED)
        return float(seconds)


def _acting(identity: Identity, metadata: Mapping[str, str], traceparent: str) -> Acting:
    app_id = identity.name if identity.role == options_pb2.ROLE_APP else ""
    return Acting(
        app_id=app_id,
        traceparent=traceparent,
        locale=metadata.get("accept-language", "")[:16],
        role=identity.role,
        caller=identity.name,
    )


def _check(request: Message) -> None:
    """Raise Malformed unless `request` keeps its rules.

    Of a batch only the number of items is looked at: each is checked on its own later
    (mesh.items), because one that breaks its rules must not touch its neighbours.
    """
    limits = _item_limits(request.DESCRIPTOR)
    if limits is None or len(getattr(request, "items", ())) not in limits:
        check(request)


def _items_of(request: Message) -> int:
    """Return how many items a call counts as: a batch as many as it has."""
    repeated = request.DESCRIPTOR.fields_by_name.get("items")
    return max(1, len(getattr(request, "items"))) if repeated is not None else 1  # noqa: B009


@cache
def _item_limits(request: Descriptor) -> range | None:
    """Return how many items a batch may have; None for a request that is no batch."""
    items = request.fields_by_name.get("items")
    if items is None or len(request.fields) > 1 or items.message_type is None:
        return None
    rules = items.GetOptions().Extensions[validate_pb2.field].repeated
    return range(rules.min_items, rules.max_items + 1)


async def _readable(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """Yield the messages of a stream. Raises MALFORMED_BYTES at the first that is none."""
    async for request in requests:
        if isinstance(request, _NoMessage):
            raise refuse(reasons.REASON_MALFORMED_BYTES)
        yield request


def _plain(metadata: Any) -> dict[str, str]:
    return {key: value for key, value in metadata or () if isinstance(value, str)}


def _forgiving(deserialize: Callable[[bytes], Any] | None) -> Callable[[bytes], Any]:
    assert deserialize is not None, "generated handlers have one"

    def read(data: bytes) -> Any:
        try:
            return deserialize(data)
        except DecodeError:
            return _NO_MESSAGE

    return read
