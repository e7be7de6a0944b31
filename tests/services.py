"""Real services for tests: in this process, or as processes of their own.

    async def test_something(ground):                      # fixture of tests/{service,mesh}
        async with ground.run("risk") as risk:             # the real service, in this process
            stub = RiskServiceStub(risk.channel("payment"))          # unix socket, svc:payment
            await stub.BatchEvaluate(request)                        # deadline 20 s by default
            ops = RiskOpsServiceStub(risk.operator())                # TLS port, op:admin
            batch = await ground.tell("payment", PaymentSucceeded(payment=…))  # as payment
            await risk.applied(batch)                      # returns when its effects are durable
            assert risk.rows("SELECT used_minor FROM limit_use") == [(5,)]

`ground.spawn(name)` instead of `ground.run(name)` starts `python -m mesh.serve <name>` as a
child: for kill -9 and SIGTERM (`risk.process.send(signal.SIGKILL)`). Both take:

- `replica=1`: another process of the same service, on the same database, with a socket
  directory of its own in which the other services' sockets are those of `replica=0`.
- any setting of `mesh.config` by name (`trace_ppm=1_000_000`, `rows_max=1`, …).

`ground.run` also takes a `mesh.serve.Service` of the test's own: that is also how a neighbour
is scripted (`Service(name="channel", doors=[Door(…)], …)` opens the same socket).

A handle has:

- `channel(caller)`, `operator()`, `app(signer)`: gRPC channels that carry a token: of a
  service on the unix socket, of the operator and of an app on the TLS port. `raw()` and
  `public(token)` are the same without a token and without a deadline, or with that token.
- `runtime` (only `run`): db, clock, signer, links. `process`, `log` (only `spawn`).
- `rows(sql, **params)`: a list of tuples, on a connection of the test's own in the service's
  role. `dsn` for more. `await shift("36 hours")` moves the service's business time forward.
- `await applied(batch_id)`, `dead_letters()`, `published(PaymentSucceeded)`.
- `await blocked(2)`: returns when two backends of its database wait for a lock. Together
  with `async with holding(handle.dsn, "SELECT … FOR UPDATE")` a race is arranged: start both
  calls, wait until both are blocked, leave the block.
- `ErrorInfo` of a failed call: `info_of(error)`; its BadRequest fields: `fields_of(error)`.

The ground gives every service one database (`ground.dsn(name)`), every service and the
operator a key, an app one by `ground.app("mall")` (`.signer`, `.pem`), and NATS without any
stream of earlier tests. `await ground.deliver_again("risk", source="payment")` makes NATS
deliver every event once more. `open_ground(nats=fresh_nats, …)` has a NATS that may be killed.
"""

import itertools
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import grpc
import psycopg
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from nats.aio.client import Client

from mesh import streams
from mesh.clock import real_now
from mesh.config import Settings, environment, load, services
from mesh.embedded import Nats
from mesh.embedded.places import Ports, make_home, private_dir, write_private
from mesh.embedded.process import Process
from mesh.events import pack
from mesh.pki import OPERATOR, prepare_keys
from mesh.serve import Runtime, Service, running
from mesh.supervisor.children import serves
from mesh.tokens import Signer
from tests.channels import Fixed, carrying, on_socket
from tests.waiting import WITHIN_S, eventually
from tongbao.common.v1 import event_pb2

_STOP_SECONDS = 30.0


@dataclass(frozen=True)
class App:
    """A caller with a key pair of its own; `pem` is what an operator registers for it."""

    app_id: str
    signer: Signer
    pem: str


class Handle:
    """A running service, and the doors to it."""

    def __init__(self, ground: "Ground", settings: Settings, stack: AsyncExitStack) -> None:
        self.settings, self._ground, self._stack = settings, ground, stack
        self.name = settings.service
        self.dsn = settings.database_dsn
        self.socket = settings.socket_dir / f"{self.name}.sock"
        self.log = settings.home / "logs" / f"{settings.socket_dir.name}-{self.name}.log"
        self.runtime: Runtime | None = None
        self.process: Process | None = None
        self._rows: psycopg.Connection | None = None

    def channel(self, caller: str = "trade") -> grpc.aio.Channel:
        """The unix socket, with the token of the service `caller`."""
        signer = self._ground.signer(caller)
        return self._kept(on_socket(self.socket, interceptors=carrying(signer)))

    def raw(self) -> grpc.aio.Channel:
        """The unix socket, without token or deadline."""
        return self._kept(on_socket(self.socket))

    def operator(self) -> grpc.aio.Channel:
        """The TLS port, with the token of the first operator."""
        return self.app(self._ground.signer("operator"))

    def app(self, signer: Signer | App) -> grpc.aio.Channel:
        """The TLS port, with tokens of `signer`."""
        signer = signer.signer if isinstance(signer, App) else signer
        return self._kept(self._secure(interceptors=carrying(signer)))

    def public(self, token: str | None = None) -> grpc.aio.Channel:
        """The TLS port, with that token or none, and without a deadline."""
        carried = carrying(Fixed(token), seconds=None) if token else None
        return self._kept(self._secure(interceptors=carried))

    def rows(self, sql: str, **params: object) -> list[tuple[Any, ...]]:
        """The rows of one statement, in the role of the service."""
        if self._rows is None:
            self._rows = psycopg.connect(self.dsn, autocommit=True)
            self._stack.callback(self._rows.close)
        cursor = self._rows.execute(sql, params or None)
        return cursor.fetchall() if cursor.description else []

    async def shift(self, by: str) -> None:
        """Move the business time of the service forward, e.g. by `36 hours`."""
        self.rows("UPDATE clock SET shift = shift + %(by)s::interval", by=by)
        if self.runtime is not None:
            await self.runtime.clock.refresh(self.runtime.db)

    async def applied(self, batch_id: str, *, within: float = WITHIN_S) -> None:
        """Return when the effects of the batch are durable, or set aside."""
        sql = "SELECT 1 FROM inbox WHERE batch_id = %(batch_id)s"
        await eventually(lambda: self.rows(sql, batch_id=batch_id), within=within)

    async def blocked(self, count: int = 1, *, what: str = "") -> None:
        """Return when `count` backends of the service's database wait for a lock.

        `what` is in their statement: upkeep may wait beside them.
        """
        sql = """SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'
                 AND datname = current_database() AND strpos(query, %(what)s) > 0"""
        await eventually(lambda: self.rows(sql, what=what) == [(count,)])

    def dead_letters(self) -> list[event_pb2.Event]:
        """The events that were set aside, oldest first."""
        rows = self.rows("SELECT event FROM dead_letter ORDER BY create_time, place")
        return [event_pb2.Event.FromString(event) for (event,) in rows]

    def published(self, kind: type[Message]) -> list[Any]:
        """What the outbox holds of the events of one kind, oldest first."""
        rows = self.rows("SELECT events FROM outbox ORDER BY outbox_id")
        batches = [event_pb2.EventBatch.FromString(packed) for (packed,) in rows]
        name = kind.DESCRIPTOR.full_name
        happened = [event for batch in batches for event in batch.events]
        return [kind.FromString(event.payload) for event in happened if event.type == name]

    def _secure(self, interceptors: Any = None) -> grpc.aio.Channel:
        credentials = grpc.ssl_channel_credentials(self.settings.tls_ca.read_bytes())
        target = f"127.0.0.1:{self.settings.public_ports[self.name]}"
        return grpc.aio.secure_channel(target, credentials, interceptors=interceptors)

    def _kept(self, channel: grpc.aio.Channel) -> grpc.aio.Channel:
        self._stack.push_async_callback(channel.close)
        return channel


class Ground:
    """What the services of one test share. Open it by `open_ground` or the fixture."""

    def __init__(self, home: Path, nats: Nats, database: Callable[..., str]) -> None:
        self.home, self.nats, self._database = home, nats, database
        self._dsns: dict[str, str] = {}
        self._batches = itertools.count(1)

    def dsn(self, name: str) -> str:
        """The one database of the service `name`, with its schema."""
        if name not in self._dsns:
            self._dsns[name] = self._database(name)
        return self._dsns[name]

    def signer(self, name: str) -> Signer:
        """A signer with the key of a service, or of `operator`."""
        issuer = f"op:{OPERATOR}" if name == "operator" else f"svc:{name}"
        return Signer.from_file(issuer, self.home / "keys" / f"{name}.key")

    def app(self, app_id: str) -> App:
        """A new key pair of an app; the services know it only once it is registered."""
        key = Ed25519PrivateKey.generate()
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        pem = key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()
        return App(app_id, Signer(app_id, key), pem)

    def settings(self, name: str, *, replica: int = 0, **overrides: Any) -> Settings:
        """The settings of one process."""
        port = Ports(self.home).port(f"{name}{replica or ''}")
        own = {
            "home": self.home,
            "socket_dir": self._sockets(replica),
            "nats_url": self.nats.url(name),
            "public_ports": {name: port},
            "log_format": "json",
        }
        if "database_dsn" not in overrides:
            own["database_dsn"] = self.dsn(name)
        return load(name, **(own | overrides))

    @asynccontextmanager
    async def run(
        self, service: str | Service[Any], *, replica: int = 0, **overrides: Any
    ) -> AsyncIterator[Handle]:
        """The service in this process; drained when the block ends."""
        if isinstance(service, str):
            service = _installed(service)
        settings = self.settings(service.name, replica=replica, **overrides)
        async with AsyncExitStack() as stack:
            handle = Handle(self, settings, stack)
            handle.runtime = await stack.enter_async_context(running(service, settings))
            yield handle

    @asynccontextmanager
    async def spawn(
        self, name: str, *, replica: int = 0, module: str = "mesh.serve", **overrides: Any
    ) -> AsyncIterator[Handle]:
        """The service as a child process; asked to end when the block ends."""
        settings = self.settings(name, replica=replica, **overrides)
        async with AsyncExitStack() as stack:
            handle = Handle(self, settings, stack)
            file = self.home / "run" / f"{settings.socket_dir.name}-{name}.json"
            told = settings.model_dump(mode="json", exclude_none=True, exclude={"service"})
            write_private(file, json.dumps(told))
            argv = [sys.executable, "-m", module, name]
            handle.process = Process(argv, log=handle.log, env=environment(file))
            stack.push_async_callback(handle.process.end, signal.SIGTERM, grace=_STOP_SECONDS)
            await _until_serving(handle)
            yield handle

    async def tell(self, source: str, *happened: Message, batch_id: str = "") -> str:
        """Publish events as the service `source` would, in one batch; return its id.

        Each event holds its resource in its first field: number, version, app and trace of
        the envelope are the resource's.
        """
        batch_id = batch_id or f"{source}-test-{next(self._batches)}"
        head = event_pb2.EventBatch(batch_id=batch_id).SerializeToString()
        await self.publish(source, head + b"".join(map(_packed, happened)))
        return batch_id

    async def publish(self, source: str, data: bytes) -> None:
        """Publish bytes on the subject of `source`, whatever they are."""
        async with _connected(self.nats.url(source), source) as client:
            await streams.ensure_stream(client, source)
            await streams.ask(client, streams.subject_of(source), data)

    async def deliver_again(self, service: str, *, source: str) -> None:
        """Make NATS forget how far `service` has read, as if it had lost its store."""
        name = f"{streams.stream_of(source)}.{service}_from_{source}"
        async with _connected(self.nats.url()) as client:
            await streams.ask(client, f"$JS.API.CONSUMER.DELETE.{name}", b"")

    def _sockets(self, replica: int) -> Path:
        first = private_dir(self.home / "run" / "sock")
        if not replica:
            return first
        own = private_dir(self.home / "run" / f"sock{replica}")
        for name in services():
            link = own / f"{name}.sock"
            if not link.is_symlink() and not link.exists():
                link.symlink_to(first / link.name)
        return own


@asynccontextmanager
async def open_ground(*, nats: Nats, database: Callable[..., str]) -> AsyncIterator[Ground]:
    """A ground on that NATS, whose streams are deleted first."""
    home = Path(tempfile.mkdtemp(prefix="tongbao-ground-"))
    try:
        make_home(home)
        prepare_keys(home, services())
        await _delete_streams(nats)
        yield Ground(home, nats, database)
    finally:
        shutil.rmtree(home)


@pytest.fixture
async def ground(nats: Nats, database: Callable[..., str]) -> AsyncIterator[Ground]:
    """What the services of this test share."""
    async with open_ground(nats=nats, database=database) as opened:
        yield opened


@asynccontextmanager
async def holding(dsn: str, sql: str, **params: object) -> AsyncIterator[None]:
    """Run `sql` in a transaction that stays open during the block, then commits."""
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        await connection.execute("SET idle_in_transaction_session_timeout = 0")
        await connection.execute(sql, params)
        yield


def info_of(error: grpc.aio.AioRpcError) -> error_details_pb2.ErrorInfo:
    """The reason and the facts of a failed call."""
    return _detail(error, error_details_pb2.ErrorInfo())


def fields_of(error: grpc.aio.AioRpcError) -> list[str]:
    """The fields that broke their rules, in the order of the request."""
    bad = _detail(error, error_details_pb2.BadRequest())
    return [violation.field for violation in bad.field_violations]


def _detail(error: grpc.aio.AioRpcError, detail: Any) -> Any:
    status = rpc_status.from_call(error)
    assert status is not None, error
    assert any(packed.Unpack(detail) for packed in status.details), status
    return detail


def _installed(name: str) -> Service[Any]:
    [entry] = entry_points(group="tongbao.services", name=name)
    service: Service[Any] = entry.load()
    return service


async def _delete_streams(nats: Nats) -> None:
    """Batch ids begin anew with every database: what is left would look like a repetition."""
    async with _connected(nats.url()) as client:
        for service in services():
            stream = streams.stream_of(service)
            with suppress(streams.StreamError):
                await streams.ask(client, f"$JS.API.STREAM.DELETE.{stream}", b"")


@asynccontextmanager
async def _connected(url: str, service: str = "test") -> AsyncIterator[Client]:
    client = await streams.connect(url, service)
    try:
        yield client
    finally:
        await client.close()


async def _until_serving(handle: Handle) -> None:
    async def serving() -> bool:
        assert handle.process.returncode is None, handle.process.said()
        return await serves(handle.socket)

    await eventually(serving)


def _packed(event: Message) -> bytes:
    resource = getattr(event, event.DESCRIPTOR.fields[0].name)
    return pack(
        event,
        number=getattr(resource, resource.DESCRIPTOR.fields[0].name),
        version=resource.version,
        app_id=resource.app_id,
        trace_no=resource.trace_no,
        time=real_now(),
    )
