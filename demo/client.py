"""Calls to a running installation as any caller makes them: over TLS, with a signed token."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from mesh.tokens import Signer
from tongbao.channel.v1.channel_ops_service_pb2_grpc import ChannelOpsServiceStub
from tongbao.ledger.v1.ledger_ops_service_pb2_grpc import LedgerOpsServiceStub
from tongbao.risk.v1.risk_ops_service_pb2_grpc import RiskOpsServiceStub
from tongbao.trade.v1.trade_ops_service_pb2_grpc import TradeOpsServiceStub
from tongbao.trade.v1.trade_service_pb2_grpc import TradeServiceStub

SECONDS = 10.0
NOT_EXECUTED = "NOT_EXECUTED"
_TRIES = 20
_PAUSE_S = 0.25
# A caller that never reads its errors would hang on a dead server for minutes, and one that
# waits longer from try to try would not see that it is back.
_OPTIONS = (
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)


@dataclass(frozen=True, slots=True)
class Answer(Generic[Response]):
    """What came back. `replayed` says that the call had been done before."""

    message: Response
    replayed: bool


@dataclass(slots=True)
class CallFailed(Exception):
    """An answer that is an error, with the details that programs read."""

    code: str
    text: str
    reason: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        told = ", ".join(f"{key}={value}" for key, value in self.facts.items())
        return f"{self.code} {self.reason} {self.text} {told}".strip()


class Doors:
    """The public ports of one installation. `async with Doors(...)` closes them after use."""

    def __init__(self, ports: Mapping[str, int], *, host: str, ca: Path) -> None:
        credentials = grpc.ssl_channel_credentials(ca.read_bytes())
        self._channels = {
            service: grpc.aio.secure_channel(f"{host}:{port}", credentials, options=_OPTIONS)
            for service, port in ports.items()
            if service in ("trade", "channel", "ledger", "risk")
        }
        self.trade = TradeServiceStub(self._channels["trade"])
        self.trade_ops = TradeOpsServiceStub(self._channels["trade"])
        self.channel_ops = ChannelOpsServiceStub(self._channels["channel"])
        self.ledger_ops = LedgerOpsServiceStub(self._channels["ledger"])
        self.risk_ops = RiskOpsServiceStub(self._channels["risk"])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.gather(*(channel.close() for channel in self._channels.values()))


class Caller:
    """Somebody who may call: an app or an operator, by its own key."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    async def ask(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[Request, Response],
        request: Request,
        *,
        seconds: float = SECONDS,
    ) -> Answer[Response]:
        """Return the answer to `request`. Raises CallFailed.

        What certainly was not executed is sent again, as every caller should.
        """
        for tries_left in reversed(range(_TRIES)):
            metadata = (("authorization", f"Bearer {self._signer.token()}"),)
            call = method(request, timeout=seconds, metadata=metadata)
            try:
                message = await call
            except grpc.aio.AioRpcError as error:
                failed = read_error(error)
                if failed.code != "UNAVAILABLE" or not tries_left:
                    raise failed from error
                await asyncio.sleep(_PAUSE_S)
                continue
            trailers = dict(await call.trailing_metadata() or ())
            return Answer(message, trailers.get("idempotent-replayed") == "true")
        raise AssertionError("the last try returns or raises")

    async def watch(
        self, method: grpc.aio.UnaryStreamMultiCallable[Any, Response], request: Any
    ) -> AsyncGenerator[Response, None]:
        """Yield what `method` streams about a trade, until the stream ends well.

        A stream that was ended though all is well is opened again behind what was seen, as
        every caller should. Raises CallFailed.
        """
        silent = 0
        while True:
            metadata = (("authorization", f"Bearer {self._signer.token()}"),)
            try:
                async for message in method(request, metadata=metadata):
                    silent = 0
                    seen: Any = message
                    request.after_version = seen.trade.version
                    yield message
                return
            except grpc.aio.AioRpcError as error:
                failed, silent = read_error(error), silent + 1
                again = failed.code == "UNAVAILABLE" or failed.reason == "TOKEN_EXPIRED"
                if not again or silent == _TRIES:
                    raise failed from error
                await asyncio.sleep(_PAUSE_S)


def read_error(error: grpc.aio.AioRpcError) -> CallFailed:
    """Return the error with its reason and facts."""
    failed = CallFailed(error.code().name, error.details() or "")
    status: Any = rpc_status.from_call(error)  # type: ignore[arg-type]  # aio's has the same.
    for detail in status.details if status is not None else ():
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            failed.reason, failed.facts = info.reason, dict(info.metadata)
    return failed
