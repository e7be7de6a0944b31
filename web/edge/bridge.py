"""The bridge: every public rpc as a Connect endpoint that forwards to its service.

It is built from descriptors alone, so a new rpc is there without a line of code. Who may call
is decided behind it: the bridge has no key of its own and passes the caller's token on.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any, Final

import grpc
from connectrpc.method import IdempotencyLevel, MethodInfo, StreamType
from connectrpc.request import RequestContext
from connectrpc.server import ConnectASGIApplication, Endpoint
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from tongbao.common.v1 import options_pb2
from web.edge.codec import strict_codecs
from web.edge.errors import to_connect

REQUEST_BYTES_MAX = 1 << 20
UNARY_SECONDS, STREAM_SECONDS = 30.0, 3600.0  # For callers that say nothing.

# What a caller's headers may tell the service; everything else ends here.
_PASSED_ON: Final = ("authorization", "traceparent", "accept-language")
_PASSED_BACK: Final = ("idempotent-replayed",)
_OUTSIDERS: Final = frozenset({options_pb2.ROLE_APP, options_pb2.ROLE_OPERATOR})

Ctx = RequestContext[Any, Any]
Served = Any  # One of connectrpc's endpoint types; it names no common one.


class Bridge(ConnectASGIApplication[Mapping[str, grpc.aio.Channel]]):
    """The ASGI application. `open_channels` is called in the loop that serves, once."""

    def __init__(
        self,
        services: Iterable[ServiceDescriptor],
        *,
        open_channels: Callable[[], Mapping[str, grpc.aio.Channel]],
    ) -> None:
        known = list(services)

        async def opened() -> Any:
            channels = open_channels()
            yield channels
            for channel in channels.values():
                await channel.close()

        super().__init__(
            service=opened(),
            endpoints=lambda channels: dict(_endpoints(known, channels)),
            codecs=strict_codecs(),
            read_max_bytes=REQUEST_BYTES_MAX,
        )

    @property
    def path(self) -> str:
        """Return the root under which all paths are."""
        return "/"


def is_public(method: MethodDescriptor) -> bool:
    """Return whether somebody outside the mesh may call `method`, by its policy."""
    policy: options_pb2.Policy = method.GetOptions().Extensions[options_pb2.policy]
    return not _OUTSIDERS.isdisjoint(policy.roles)


def mesh_service(descriptor: ServiceDescriptor) -> str:
    """Return which service of the mesh answers: `trade` for `tongbao.trade.v1.…`."""
    return str(descriptor.file.package.split(".")[1])


def _endpoints(
    services: Iterable[ServiceDescriptor], channels: Mapping[str, grpc.aio.Channel]
) -> Iterable[tuple[str, Served]]:
    """Yield the endpoint of every public rpc of a service we have a channel to, by its path.

    Not those with a stream of requests: HTTP/1.1 cannot carry them, gRPC itself does.
    """
    for service in services:
        channel = channels.get(mesh_service(service))
        for method in service.methods if channel is not None else ():
            if is_public(method) and not method.client_streaming:
                assert channel is not None
                yield f"/{service.full_name}/{method.name}", _endpoint(method, channel)


def _endpoint(method: MethodDescriptor, channel: grpc.aio.Channel) -> Served:
    request = message_factory.GetMessageClass(method.input_type)
    response = message_factory.GetMessageClass(method.output_type)
    policy: options_pb2.Policy = method.GetOptions().Extensions[options_pb2.policy]
    reads = policy.idempotency == options_pb2.IDEMPOTENCY_READ
    info: MethodInfo[Any, Any] = MethodInfo(
        name=method.name,
        service_name=method.containing_service.full_name,
        input=request,
        output=response,
        # No side effects means that GET is served too; the others are safe to repeat.
        idempotency_level=(
            IdempotencyLevel.NO_SIDE_EFFECTS if reads else IdempotencyLevel.IDEMPOTENT
        ),
        stream_type=StreamType.SERVER_STREAM if method.server_streaming else StreamType.UNARY,
    )
    path = f"/{info.service_name}/{info.name}"
    coding: dict[str, Any] = {
        "request_serializer": request.SerializeToString,
        "response_deserializer": response.FromString,
    }
    if method.server_streaming:
        return Endpoint.server_stream(info, _stream(channel.unary_stream(path, **coding)))
    return Endpoint.unary(info, _unary(channel.unary_unary(path, **coding)))


def _unary(ask: Any) -> Callable[[Any, Ctx], Any]:
    async def call(request: Any, context: Ctx) -> Any:
        call = ask(request, metadata=_metadata(context), timeout=_seconds(context, UNARY_SECONDS))
        try:
            answer = await call
        except grpc.aio.AioRpcError as error:
            raise to_connect(error) from None
        for key, value in await call.trailing_metadata() or ():
            if key in _PASSED_BACK:
                context.response_trailers.add(key, value)
        return answer

    return call


def _stream(ask: Any) -> Callable[[Any, Ctx], AsyncIterator[Any]]:
    async def call(request: Any, context: Ctx) -> AsyncIterator[Any]:
        call = ask(request, metadata=_metadata(context), timeout=_seconds(context, STREAM_SECONDS))
        try:
            async for answer in call:
                yield answer
        except grpc.aio.AioRpcError as error:
            raise to_connect(error) from None
        finally:
            call.cancel()  # The reader may have left: nobody is waiting for the rest.

    return call


def _metadata(context: Ctx) -> tuple[tuple[str, str], ...]:
    headers = context.request_headers
    return tuple((name, headers[name]) for name in _PASSED_ON if name in headers)


def _seconds(context: Ctx, otherwise: float) -> float:
    left = context.timeout_ms
    return otherwise if left is None else max(0.0, left / 1000)
