"""How a service runs: `python -m mesh.serve <service>`.

A service is a value: which doors it opens, which events it applies, what it looks at when
it is due. Public rpcs are served by TLS on a port, all rpcs on a unix socket; both have
health, reflection and channelz. SIGTERM drains: no new calls, consumers stop, what was
begun is finished.
"""

from __future__ import annotations

import asyncio
import gc
import importlib.metadata
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import grpc
import structlog
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message
from grpc_channelz.v1 import channelz
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from prometheus_client import REGISTRY, start_http_server

from mesh.call import CHANNEL_OPTIONS, BatchLink, StreamLink
from mesh.clock import Clock
from mesh.config import Settings, load
from mesh.db import Database
from mesh.door import Crew, Doorkeeper
from mesh.due import Due, run_due
from mesh.inbox import Consumer, Handler
from mesh.logging import configure
from mesh.numbers import Numbers, lease_numbers
from mesh.outbox import Relay
from mesh.reflection import add_reflection
from mesh.seal import Seal
from mesh.telemetry import StatementRows, tracing
from mesh.tokens import KeysOf, Signer, Verifier

Desk = TypeVar("Desk")

_Work = Callable[[], Awaitable[None]]

DRAIN_SECONDS = 20.0
_CLOCK_SECONDS = 1.0
_TROUBLE_SECONDS = 1.0
_CANCEL_SECONDS = 0.5
_SERVER_OPTIONS = (
    *CHANNEL_OPTIONS,
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.max_metadata_size", 8 << 10),
    ("grpc.so_reuseport", 0),
)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Door(Generic[Desk]):
    """One gRPC service: its descriptor, how it is added to a server, who answers it."""

    descriptor: ServiceDescriptor
    add: Callable[[Any, grpc.aio.Server], None]
    servicer: Callable[[Desk], Any]
    public: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Service(Generic[Desk]):
    """Everything that makes one service different from the others."""

    name: str
    opens: Callable[[Runtime], AbstractAsyncContextManager[Desk]]
    doors: Sequence[Door[Desk]]
    events: Mapping[str, Mapping[type[Message], Handler[Desk]]] = field(default_factory=dict)
    due: Sequence[Due[Desk]] = ()
    tasks: Sequence[Callable[[Desk], Awaitable[None]]] = ()
    apps: Callable[[Desk], KeysOf] | None = None


@dataclass(slots=True, kw_only=True)
class Runtime:
    """What the mesh gives to a service."""

    settings: Settings
    db: Database
    clock: Clock
    numbers: Numbers
    signer: Signer
    seal: Seal
    crew: Crew
    stack: AsyncExitStack
    _channels: dict[str, grpc.aio.Channel] = field(default_factory=dict)

    def batch_link(
        self, service: str, *, method: str, request: Callable[..., Any], response: type[Any]
    ) -> BatchLink[Any, Any]:
        """Return a link to a `Batch…` rpc of a neighbour, closed with the service."""
        link: BatchLink[Any, Any] = BatchLink(
            self._channel(service),
            self.signer,
            method=method,
            request=request,
            response=response,
            rows_max=self.settings.rows_max,
        )
        self.stack.push_async_callback(link.close)
        return link

    def stream_link(
        self, service: str, *, method: str, request: Callable[..., Any], response: type[Any]
    ) -> StreamLink[Any, Any]:
        """Return a link to a `Stream…` rpc of a neighbour, closed with the service."""
        link: StreamLink[Any, Any] = StreamLink(
            self._channel(service), self.signer, method=method, request=request, response=response
        )
        self.stack.push_async_callback(link.close)
        return link

    def stub(self, service: str, stub: Callable[[grpc.aio.Channel], Any]) -> Any:
        """Return a plain stub of a neighbour, for calls off the hot path."""
        return stub(self._channel(service))

    def _channel(self, service: str) -> grpc.aio.Channel:
        if service not in self._channels:
            target = f"unix:{self.settings.socket_dir / service}.sock"
            channel = grpc.aio.insecure_channel(target, options=CHANNEL_OPTIONS)
            self._channels[service] = channel
            self.stack.push_async_callback(channel.close)
        return self._channels[service]


@asynccontextmanager
async def running(service: Service[Any], settings: Settings) -> AsyncIterator[Runtime]:
    """Run `service` inside the block; on leaving, drain it."""
    async with AsyncExitStack() as stack:
        runtime = await _open_runtime(settings, stack)
        desk = await stack.enter_async_context(service.opens(runtime))
        health_servicer = health.aio.HealthServicer()
        verifier = Verifier(settings.keys_dir, apps=service.apps(desk) if service.apps else None)
        servers = [_server(service, desk, runtime, verifier, health_servicer, public=False)]
        socket = settings.socket_dir / f"{service.name}.sock"
        socket.unlink(missing_ok=True)
        servers[0].add_insecure_port(f"unix:{socket}")
        if any(door.public for door in service.doors):
            servers.append(_public_server(service, desk, runtime, verifier, health_servicer))
        for server in servers:
            await server.start()
        tasks = [asyncio.create_task(_for_life(work)) for work in _work(service, desk, runtime)]
        await health_servicer.set("", health_pb2.HealthCheckResponse.SERVING)
        log.info("serving", service=service.name)
        try:
            yield runtime
        finally:
            await health_servicer.enter_graceful_shutdown()
            runtime.crew.drain()
            await _end(tasks)
            await asyncio.gather(*(server.stop(DRAIN_SECONDS) for server in servers))
            await runtime.crew.close()


async def _open_runtime(settings: Settings, stack: AsyncExitStack) -> Runtime:
    service = settings.service
    assert service, "a service's own settings"
    assert settings.database_dsn, "written by the supervisor"
    assert settings.key_file, "derived from the service"
    spans = tracing(
        service,
        home=settings.home,
        endpoint=settings.otlp_endpoint,
        ratio=settings.trace_ppm / 1_000_000,
    )
    stack.enter_context(spans)
    database = Database(
        settings.database_dsn, rows_max=settings.rows_max, flights_max=settings.flights_max
    )
    db = await stack.enter_async_context(database)
    clock = Clock(settings.timezone)
    await clock.refresh(db)
    return Runtime(
        settings=settings,
        db=db,
        clock=clock,
        numbers=await lease_numbers(db, clock),
        signer=Signer.from_file(f"svc:{service}", settings.key_file),
        seal=Seal.from_file(settings.home / "keys" / f"{service}.seal"),
        crew=Crew(),
        stack=stack,
    )


def _server(
    service: Service[Any],
    desk: Any,
    runtime: Runtime,
    verifier: Verifier,
    health_servicer: Any,
    *,
    public: bool,
) -> grpc.aio.Server:
    doorkeeper = Doorkeeper(verifier, runtime.crew, public=public)
    server = grpc.aio.server(interceptors=[doorkeeper], options=_SERVER_OPTIONS)
    doors = [door for door in service.doors if door.public or not public]
    for door in doors:
        door.add(door.servicer(desk), server)
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    if not public:
        channelz.add_channelz_servicer(server)
    add_reflection([door.descriptor.full_name for door in doors] + [health.SERVICE_NAME], server)
    return server


def _public_server(
    service: Service[Any],
    desk: Any,
    runtime: Runtime,
    verifier: Verifier,
    health_servicer: Any,
) -> grpc.aio.Server:
    settings = runtime.settings
    server = _server(service, desk, runtime, verifier, health_servicer, public=True)
    pair = (settings.tls_key.read_bytes(), settings.tls_cert.read_bytes())
    credentials = grpc.ssl_server_credentials([pair])
    port = settings.public_ports.get(service.name, 0)
    server.add_secure_port(f"{settings.public_host}:{port}", credentials)
    return server


def _work(service: Service[Any], desk: Any, runtime: Runtime) -> list[_Work]:
    """Return what runs beside the doors."""
    settings, db = runtime.settings, runtime.db
    assert settings.database_dsn, "written by the supervisor"
    assert settings.nats_url, "written by the supervisor"
    relay = Relay(service.name, settings.database_dsn, settings.nats_url, wake=db.wrote_outbox)
    consumers = [
        Consumer(
            service=service.name,
            source=source,
            handlers=handlers,
            nats_url=settings.nats_url,
            db=db,
            desk=desk,
        )
        for source, handlers in service.events.items()
    ]
    return [
        partial(_keep_time, runtime),
        relay.run,
        *(consumer.run for consumer in consumers),
        *(partial(run_due, db, due, desk) for due in service.due),
        *(partial(task, desk) for task in service.tasks),
    ]


async def _for_life(work: _Work) -> None:
    """Do `work` until cancelled: a bug in it must not leave the service half alive."""
    while True:
        try:
            await work()
        except Exception:  # Whatever it was, the others go on, and so shall this one.
            log.exception("work_broke")
        await asyncio.sleep(_TROUBLE_SECONDS)


async def _end(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Return when all tasks have ended. They are cancelled until they do.

    Once is not enough: `asyncio.wait_for` of Python 3.11, which the NATS client uses, forgets
    a cancellation that comes together with the result.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_CANCEL_SECONDS)


async def _keep_time(runtime: Runtime) -> None:
    """Follow the shift of business time."""
    while True:
        await asyncio.sleep(_CLOCK_SECONDS)
        try:
            await runtime.clock.refresh(runtime.db)
        except Exception as error:  # The old shift stays good until the database is back.
            log.warning("clock_not_read", problem=str(error))


async def _serve(service: Service[Any], settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with running(service, settings) as runtime:
        REGISTRY.register(StatementRows(runtime.db.sizes))
        gc.collect()
        gc.freeze()  # What lives for ever need not be looked at again.
        await stop.wait()


def main() -> None:
    """Run the service named on the command line until SIGTERM."""
    name = sys.argv[1]
    settings = load(name)
    configure(settings)
    [entry] = importlib.metadata.entry_points(group="tongbao.services", name=name)
    service: Service[Any] = entry.load()
    if settings.metrics_port:
        start_http_server(settings.metrics_port, addr="127.0.0.1")
    os.chdir(Path(settings.home))
    asyncio.run(_serve(service, settings))


if __name__ == "__main__":
    main()
