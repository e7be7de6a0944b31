"""gRPC channels of tests: to a unix socket, and with a token on every call."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from mesh.tokens import Signer

CALL_SECONDS = 20.0


@dataclass(frozen=True)
class Fixed:
    """Signs always the same."""

    text: str

    def token(self) -> str:
        return self.text


def on_socket(socket: Path, interceptors: Any = None) -> grpc.aio.Channel:
    """A channel to a unix socket."""
    return grpc.aio.insecure_channel(f"unix:{socket}", interceptors=interceptors)


def carrying(signer: Signer | Fixed, *, seconds: float | None = CALL_SECONDS) -> list[Any]:
    """Interceptors that add a token, and a deadline to unary calls that bring none."""

    def completed(details: Any, timeout: float | None) -> Any:
        metadata = [*(details.metadata or ()), ("authorization", f"Bearer {signer.token()}")]
        return details._replace(
            metadata=grpc.aio.Metadata(*metadata), timeout=details.timeout or timeout
        )

    class Unary(grpc.aio.UnaryUnaryClientInterceptor):
        async def intercept_unary_unary(
            self, continuation: Callable[..., Awaitable[Any]], details: Any, request: Any
        ) -> Any:
            return await continuation(completed(details, seconds), request)

    class Stream(grpc.aio.StreamStreamClientInterceptor):
        async def intercept_stream_stream(
            self, continuation: Callable[..., Awaitable[Any]], details: Any, requests: Any
        ) -> Any:
            return await continuation(completed(details, None), requests)

    class Watch(grpc.aio.UnaryStreamClientInterceptor):
        async def intercept_unary_stream(
            self, continuation: Callable[..., Awaitable[Any]], details: Any, request: Any
        ) -> Any:
            return await continuation(completed(details, None), request)

    return [Unary(), Stream(), Watch()]
