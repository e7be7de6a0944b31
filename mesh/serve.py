"""How a service runs: `python -m mesh.serve <service>`.

A service is a value: which doors it opens, which events it applies, what it looks at when
it is due. Public rpcs are served by TLS on a port, all rpcs on a unix socket; both have
health, reflection and channelz. SIGTERM drains: no new calls, consumers stop, what was
begun is finished. SIGUSR1 says that another process has taken our place: what is connected to
us is served until it has moved there, then we drain (docs/decisions/0012).
"""

from __future__ import annotations

import asyncio
import gc
import importlib.metadata
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
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
from prometheus_client import REGISTRY

from mesh.call import CHANNEL_OPTIONS, BatchLink, StreamLink
from mesh.clock import Clock
from mesh.config import Settings, load
from mesh.crew import Crew
from mesh.db import Database
from mesh.door import Doorkeeper
from mesh.due import Due, run_due
from mesh.duty import Duty, leave_all
from mesh.gate import Gate
from mesh.handover import leave_path, prepare_path, steer, take_path
from mesh.inbox import Consumer, Handler
from mesh.limits import Accounts, Limits, LimitsOf
from mesh.logging import configure
from mesh.measures import Measure, Measures
from mesh.metrics import serve_metrics
from mesh.numbers import Numbers, lease_numbers
from mesh.outbox import Relay
from mesh.policy import Priority, demand_policies
from mesh.redact import learn
from mesh.reflection import add_reflection
from mesh.room import Room
from mesh.seal import Seal
from mesh.telemetry import PoolUse, StatementRows, tracing
from mesh.tokens import KeysOf, Signer, Verifier
from mesh.upkeep import Kept, common_rows, keep_up

Desk = TypeVar("Desk")

_Work = Callable[[], Awaitable[None]]

DRAIN_SECONDS = 20.0
_FINISH_SECONDS = 5.0  # For what consumers and timers have in hand.
_CLOCK_SECONDS = 1.0
# Under load thousands of items live for a second and then die without cycles: by default the
# collector looks at them again and again (docs/decisions/0017).
_GC = (50_000, 20, 50)
_AGE_SPREAD = 1.1  # gRPC asks a connection to leave within a tenth of its age, either way.
_SERVER_OPTIONS = dict(CHANNEL_OPTIONS) | {
    "grpc.http2.min_ping_interval_without_data_ms": 5_000,
    "grpc.max_metadata_size": 8 << 10,
    "grpc.so_reuseport": 1,  # See mesh.handover.
}
# Strangers: less in one message; who does not shake hands, or says nothing, is let go. An old
# connection is replaced; its streams may go on for as long as a stream may.
_PUBLIC_OPTIONS = {
    "grpc.max_receive_message_length": 1 << 20,
    "grpc.max_concurrent_streams": 4_096,
    "grpc.server_handshake_timeout_ms": 10_000,
    "grpc.max_connection_idle_ms": 300_000,
    "grpc.max_connection_age_grace_ms": 3_600_000,
}

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
    listeners: Sequence[Callable[[Desk], Awaitable[None]]] = ()  # Doors of other kinds.
    kept: Callable[[Settings], Sequence[Kept]] = lambda _: ()  # Its own rows that age.
    measures: Sequence[Measure] = ()
    apps: Callable[[Desk], KeysOf] | None = None
    limits: Callable[[Desk], LimitsOf] | None = None


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
    measures: Measures
    duties: list[Duty] = field(default_factory=list)
    _channels: dict[str, grpc.aio.Channel] = field(default_factory=dict)

    async def hand_over(self) -> None:
        """Return when everybody has moved to the process that has taken our place.

        Until then callers are served as ever; work beside the calls is left to it at once.
        """
        self.crew.relieve()
        moved = self.settings.connection_seconds * _AGE_SPREAD + 1
        await asyncio.gather(leave_all(self.duties, _FINISH_SECONDS), asyncio.sleep(moved))

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
            straight = f"unix:{self.settings.socket_dir / service}.sock"
            target = self.settings.routes.get(f"{self.settings.service}>{service}", straight)
            channel = grpc.aio.insecure_channel(target, options=CHANNEL_OPTIONS)
            self._channels[service] = channel
            self.stack.push_async_callback(channel.close)
        return self._channels[service]


@asynccontextmanager
async def running(service: Service[Any], settings: Settings) -> AsyncIterator[Runtime]:
    """Run `service` inside the block; on leaving, drain it.

    Raises AssertionError when an rpc of one of its doors has no whole policy.
    """
    for door in service.doors:
        demand_policies(door.descriptor)
        learn(door.descriptor.file)
    async with AsyncExitStack() as stack:
        runtime = await _open_runtime(settings, stack, service.measures)
        desk = await stack.enter_async_context(service.opens(runtime))
        health_servicer = health.aio.HealthServicer()
        gate = _gate(service, desk, settings)
        servers = [_server(service, desk, runtime, gate, health_servicer, public=False)]
        socket = settings.socket_dir / f"{service.name}.sock"
        own = prepare_path(socket)
        servers[0].add_insecure_port(f"unix:{own}")
        if any(door.public for door in service.doors):
            servers.append(_public_server(service, desk, runtime, gate, health_servicer))
        for server in servers:
            await server.start()
        runtime.duties[:] = [Duty(work) for work in _work(service, desk, runtime)]
        at_the_door = [Duty(partial(listen, desk)) for listen in service.listeners]
        for duty in (*runtime.duties, *at_the_door):
            duty.start()
        stack.callback(leave_path, own, socket)
        await health_servicer.set("", health_pb2.HealthCheckResponse.SERVING)
        take_path(own, socket)
        log.info("serving", service=service.name)
        try:
            yield runtime
        finally:
            await health_servicer.enter_graceful_shutdown()
            runtime.crew.drain()
            await asyncio.gather(
                leave_all((*runtime.duties, *at_the_door), _FINISH_SECONDS),
                *(server.stop(DRAIN_SECONDS) for server in servers),
            )
            await runtime.crew.close()


async def _open_runtime(
    settings: Settings, stack: AsyncExitStack, measures: Sequence[Measure]
) -> Runtime:
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
        measures=Measures(db, clock, measures),
    )


def _gate(service: Service[Any], desk: Any, settings: Settings) -> Gate:
    """Return the gate of a process; both its servers share it."""
    verifier = Verifier(settings.keys_dir, apps=service.apps(desk) if service.apps else None)
    limits_of = service.limits(desk) if service.limits else None
    least, most = settings.room_least, max(settings.room_least, settings.room_most)
    rooms = {one: Room(least=least, most=most) for one in (Priority.QUERY, Priority.NEW)}
    return Gate(verifier, Accounts(Limits.of(settings), limits_of), rooms)


def _server(
    service: Service[Any],
    desk: Any,
    runtime: Runtime,
    gate: Gate,
    health_servicer: Any,
    *,
    public: bool,
) -> grpc.aio.Server:
    doorkeeper = Doorkeeper(gate, runtime.crew, public=public)
    options = _SERVER_OPTIONS | (_PUBLIC_OPTIONS if public else {})
    options["grpc.max_connection_age_ms"] = runtime.settings.connection_seconds * 1000
    server = grpc.aio.server(
        interceptors=[doorkeeper],
        options=tuple(options.items()),
        maximum_concurrent_rpcs=2 * runtime.settings.room_most,
    )
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
    gate: Gate,
    health_servicer: Any,
) -> grpc.aio.Server:
    settings = runtime.settings
    server = _server(service, desk, runtime, gate, health_servicer, public=True)
    pair = (settings.tls_key.read_bytes(), settings.tls_cert.read_bytes())
    credentials = grpc.ssl_server_credentials([pair])
    wanted = settings.public_ports.get(service.name, 0)
    steer(server.add_secure_port(f"{settings.public_host}:{wanted}", credentials))
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
        partial(keep_up, db, kept_rows(service, settings)),
        *([runtime.measures.keep_up] if settings.metrics_port else []),
        relay.run,
        *(consumer.run for consumer in consumers),
        *(partial(run_due, db, due, desk) for due in service.due),
        *(partial(task, desk) for task in service.tasks),
    ]


def kept_rows(service: Service[Any], settings: Settings) -> list[Kept]:
    """Return the rows that `service` deletes when they are old: everyone's, and its own."""
    return [*common_rows(settings), *service.kept(settings)]


async def _keep_time(runtime: Runtime) -> None:
    """Follow the shift of business time."""
    while True:
        await asyncio.sleep(_CLOCK_SECONDS)
        try:
            await runtime.clock.refresh(runtime.db)
        except Exception as error:  # The old shift stays good until the database is back.
            log.warning("clock_not_read", problem=str(error))


async def _serve(service: Service[Any], settings: Settings) -> None:
    stop, relieved = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGUSR1, relieved.set)
    async with running(service, settings) as runtime:
        REGISTRY.register(StatementRows(runtime.db.sizes))
        REGISTRY.register(PoolUse(runtime.db.pool))
        REGISTRY.register(runtime.measures)
        gc.collect()
        gc.freeze()  # What lives for ever need not be looked at again.
        gc.set_threshold(*_GC)
        await _either(stop.wait(), relieved.wait())
        if not stop.is_set():
            log.info("relieved", service=service.name)
            await _either(stop.wait(), runtime.hand_over())


async def _either(*works: Coroutine[Any, Any, Any]) -> None:
    """Return when one of `works` has ended; the others are cancelled."""
    tasks = [asyncio.create_task(work) for work in works]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def installed(name: str) -> Service[Any]:
    """Return the service called `name`, its code loaded."""
    [entry] = importlib.metadata.entry_points(group="tongbao.services", name=name)
    service: Service[Any] = entry.load()
    return service


def main() -> None:
    """Run the service named on the command line until SIGTERM."""
    name = sys.argv[1]
    settings = load(name)
    configure(settings)
    service = installed(name)
    if settings.metrics_port:
        serve_metrics(settings.metrics_port)
    os.chdir(Path(settings.home))
    asyncio.run(_serve(service, settings))


if __name__ == "__main__":
    main()
