"""What every call passes before its flow and after it, in one interceptor.

In this order: bytes that are no message, who calls, whether they may, the fields, the
deadline; then the flow; then its error as a rich status. One layer of our own costs a tenth
of six generic ones, and no servicer ever touches a status code.

The work is detached from the call: when the caller stops waiting the flow goes on to its
end (reliability.md D6), because a charge that was sent must be recorded.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from functools import cache
from typing import Any, TypeAlias, TypeVar

import grpc
import structlog
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message
from google.rpc import code_pb2
from grpc_status import rpc_status

from buf.validate import validate_pb2
from mesh.batch import NotExecuted, Unknown
from mesh.clock import monotonic
from mesh.context import Acting, acting_as, within
from mesh.errors import Declined, Malformed, Refused, refuse, to_status
from mesh.telemetry import CALL_SECONDS, span, tag_span
from mesh.tokens import Identity, Verifier
from mesh.wire import check
from tongbao.common.v1 import options_pb2
from tongbao.common.v1 import reasons_pb2 as reasons

Context = grpc.aio.ServicerContext[Any, Any]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"  # Generic in the stubs only.
T = TypeVar("T")

DEADLINE_SECONDS = 5.0  # On the public port, for callers that bring none.
_OPEN = ("grpc.health.", "grpc.reflection.", "grpc.channelz.")
_KNOWN = (Refused, Malformed, Declined, NotExecuted, Unknown)

log = structlog.get_logger()


class _NoMessage:
    """Stands for bytes that could not be read; a deserializer may not raise (L4)."""


_NO_MESSAGE = _NoMessage()


class Crew:
    """Work that must end even when nobody waits for it."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._draining = asyncio.Event()

    def drain(self) -> None:
        """Ask everybody to bring what they have begun to an end, and to begin nothing new."""
        self._draining.set()

    async def drained(self) -> None:
        """Return when `drain` was called."""
        await self._draining.wait()

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start `work`; it is waited for by `close`."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def finish(self, work: Coroutine[Any, Any, T]) -> T:
        """Return the result of `work`, which goes on when we are cancelled.

        Raises Unknown when it was `work` that was cancelled: gRPC would take that for the
        caller's own wish and answer nobody (L8).
        """
        task = self.spawn(work)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise Unknown("the work was cut off") from None
            task.add_done_callback(_log_orphan)
            raise

    async def close(self) -> None:
        """Return when everything has ended."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))


class Doorkeeper(grpc.aio.ServerInterceptor):
    """Installed on every server; `public` says whether a deadline may be left out."""

    def __init__(self, verifier: Verifier, crew: Crew, *, public: bool) -> None:
        self._verifier, self._crew, self._public = verifier, crew, public
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
        policy = policy_of(method)
        name = method.lstrip("/")
        if handler.unary_unary is not None:
            return grpc.unary_unary_rpc_method_handler(
                self._unary(handler.unary_unary, name=name, policy=policy),
                request_deserializer=_forgiving(handler.request_deserializer),
                response_serializer=handler.response_serializer,
            )
        stream: Any = handler.stream_stream
        assert stream is not None, f"{name}: no door for this kind of method"
        return grpc.stream_stream_rpc_method_handler(
            self._stream(stream, name=name, policy=policy),
            request_deserializer=_forgiving(handler.request_deserializer),
            response_serializer=handler.response_serializer,
        )

    def _unary(
        self, method: Callable[..., Any], *, name: str, policy: options_pb2.Policy
    ) -> Callable[..., Any]:
        async def call(request: Message | _NoMessage, context: Context) -> Any:
            began, code = monotonic(), "CANCELLED"
            try:
                answer = await self._carry_out(method, request, context, name=name, policy=policy)
                code = "OK"
                return answer
            except _KNOWN as error:
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
        policy: options_pb2.Policy,
    ) -> Any:
        if isinstance(request, _NoMessage):
            raise refuse(reasons.REASON_MALFORMED_BYTES)
        metadata = _plain(context.invocation_metadata())
        identity = await self._admit(metadata, policy)
        _check(request)
        seconds = self._seconds(context)

        async def work() -> Any:
            with (
                within(seconds),
                span(name, traceparent=metadata.get("traceparent", "")) as traceparent,
                acting_as(_acting(identity, metadata, traceparent)),
            ):
                try:
                    return await method(request, context)
                finally:
                    tag_span()

        return await self._crew.finish(work())

    def _stream(
        self, method: Callable[..., AsyncIterator[Any]], *, name: str, policy: options_pb2.Policy
    ) -> Callable[..., AsyncIterator[Any]]:
        async def call(requests: AsyncIterator[Any], context: Context) -> AsyncIterator[Any]:
            try:
                await self._admit(_plain(context.invocation_metadata()), policy)
                async for pack in method(_readable(requests), context):
                    yield pack
                return
            except _KNOWN as error:
                status = to_status(error)
            except Exception as error:  # A bug; errors of items never come this far.
                status = to_status(error)
                log.exception("stream_broke", method=name, status=status.message)
            await context.abort_with_status(rpc_status.to_status(status))

        return call

    async def _admit(self, metadata: Mapping[str, str], policy: options_pb2.Policy) -> Identity:
        """Return who calls. Raises TOKEN_INVALID, TOKEN_EXPIRED, PERMISSION_DENIED."""
        scheme, _, token = metadata.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise refuse(reasons.REASON_TOKEN_INVALID, problem="there is no bearer token")
        identity = await self._verifier.identify(token)
        if identity.role not in policy.roles:
            raise refuse(reasons.REASON_PERMISSION_DENIED, permission=policy.permission)
        return identity

    def _seconds(self, context: Context) -> float:
        """Return how long the caller waits. Raises DEADLINE_REQUIRED, DEADLINE_PASSED."""
        seconds = context.time_remaining()
        if seconds is None:
            if not self._public:
                raise refuse(reasons.REASON_DEADLINE_REQUIRED)
            return DEADLINE_SECONDS
        if seconds <= 0:
            raise refuse(reasons.REASON_DEADLINE_PASSED)
        return float(seconds)


def policy_of(method: str) -> options_pb2.Policy:
    """Return the policy that the contract gives the method `/package.Service/Method`."""
    service_name, _, method_name = method.lstrip("/").partition("/")
    service = descriptor_pool.Default().FindServiceByName(service_name)
    policy: options_pb2.Policy = (
        service.methods_by_name[method_name].GetOptions().Extensions[options_pb2.policy]
    )
    assert policy.permission, f"{method} has no policy"
    return policy


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


@cache
def _item_limits(request: Descriptor) -> range | None:
    """Return how many items a batch may have; None for a request that is no batch."""
    items = request.fields_by_name.get("items")
    if items is None or len(request.fields) > 1 or items.message_type is None:
        return None
    if "context" not in items.message_type.fields_by_name:
        return None
    rules = items.GetOptions().Extensions[validate_pb2.field].repeated
    return range(rules.min_items, rules.max_items + 1)


async def _readable(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """Yield the messages of a stream. Raises MALFORMED_BYTES at the first that is none."""
    async for request in requests:
        if isinstance(request, _NoMessage):
            raise refuse(reasons.REASON_MALFORMED_BYTES)
        yield request


def _log_orphan(task: asyncio.Task[Any]) -> None:
    """Log the bug of a flow whose caller has gone: nobody else will ever see it."""
    if task.cancelled():
        return
    error = task.exception()
    if error is not None and not isinstance(error, _KNOWN):
        log.error("orphan_broke", exc_info=error)


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
