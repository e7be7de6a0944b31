"""The table of children: what runs, in which order, and how each says that it is ready."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from secrets import token_urlsafe

from mesh.config import Settings, environment
from mesh.embedded.places import Ports, StartError, explained, private_dir, write_private
from mesh.embedded.process import BEHIND, Process
from mesh.embedded.routes import dsn_over, url_over
from mesh.handover import leads_to, own_path

SIMULATOR = "sim"
EDGE, EDGE_MODULE = "edge", "web.edge"
DOOR = "trade"  # The service that apps call, and that turns away what is too much.
ACQUIRERS = ("sim-a", "sim-b", "sim-c", "sim-d")
FEES_PPM = (3800, 5000, 6000, 6000)  # What each acquirer takes of a charge, for its bills.
CALLBACKS = "channel"  # The service that providers call back.
GRACE_S = 25.0  # What a service may take to finish what it began.
_ASK_S = 1.0

Ready = Callable[[], Awaitable[bool]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """One program to keep running. Children of a lower stage start earlier and end later.

    `settings` are what is special to this child; they are written to
    `<home>/run/<name>.json` on top of the supervisor's own. `ports` and `urls`, by name, are
    how others find it; a port on which nobody listens in the end is not told. `socket` is
    where it is called from inside; a child that has one can be replaced while it runs. What is
    `behind` the doors lets them go first on the processors, so that they can always say no.
    """

    name: str
    argv: Sequence[str]
    ready: Ready
    stage: int = 1
    settings: Mapping[str, object] = field(default_factory=dict)
    ports: Mapping[str, int] = field(default_factory=dict)
    urls: Mapping[str, str] = field(default_factory=dict)
    grace_s: float = GRACE_S
    socket: Path | None = None
    behind: bool = True


class Program:
    """A child as something that can be started, asked and stopped."""

    def __init__(self, child: Child, home: Path) -> None:
        self.child = child
        self._home = home
        self.process: Process | None = None

    async def start(self) -> None:
        """Start the program. It is not ready yet."""
        log = self._home / "logs" / f"{self.child.name}.log"
        env = environment(settings_file(self._home, self.child.name))
        with explained(f"cannot start {self.child.name}"):
            self.process = Process(
                self.child.argv, log=log, env=env, niceness=BEHIND if self.child.behind else 0
            )

    async def stop(self) -> None:
        """Ask the program to end; make it after its grace."""
        if self.process is not None:
            await self.process.end(signal.SIGTERM, grace=self.child.grace_s)

    async def relieve(self, within: float) -> None:
        """Let the program go when all its callers have left; make it after `within` seconds."""
        if self.process is not None:
            await self.process.end(signal.SIGUSR1, grace=within)

    async def healthy(self) -> bool:
        """Return whether the program is ready now, and in its place."""
        running = self.process is not None and self.process.returncode is None
        return running and self._in_place() and await self.child.ready()

    def _in_place(self) -> bool:
        """Return whether callers inside find this process, not one that it replaces."""
        if self.child.socket is None:
            return True
        assert self.process is not None, "not started yet"
        return leads_to(self.child.socket, own_path(self.child.socket, self.process.pid))

    def send(self, number: int) -> None:
        """Send a signal to the program."""
        assert self.process is not None, "not started yet"
        self.process.send(number)


def standard_children(settings: Settings, services: Sequence[str]) -> list[Child]:
    """Return the simulator, if there is one, and a process for each service.

    Free ports are chosen here and remembered, so that all children know all addresses.
    Raises StartError for a port that is taken, or set for a service that is not there.
    """
    ports = Ports(settings.home)
    if strangers := sorted(settings.public_ports.keys() - set(services)):
        raise StartError(
            f"public_ports names {', '.join(strangers)}",
            why=f"the services are {', '.join(services)}",
            next_step="Correct TONGBAO_PUBLIC_PORTS, or public_ports in tongbao.toml",
        )
    public = {
        service: ports.port(service, wanted=settings.public_ports.get(service, 0))
        for service in services
    }
    http_port = ports.port("http", wanted=settings.http_port)
    http_url = settings.http_url or f"http://{settings.public_host}:{http_port}"
    shared: dict[str, object] = {
        "public_ports": public,
        "http_port": http_port,
        "http_url": http_url,
    }
    children = []
    if settings.sim_url is None and importlib.util.find_spec(SIMULATOR):
        children.append(_simulator(settings, ports))
        shared["sim_url"] = children[0].urls[SIMULATOR]
    for place, service in enumerate(services):
        own = shared | {"service": service}
        if settings.metrics_port:  # One port each: two processes cannot share it.
            wanted = settings.metrics_port + place
            own["metrics_port"] = ports.port("metrics", wanted=wanted)
        found_at = {service: f"https://{settings.public_host}:{public[service]}"}
        callbacks = service == CALLBACKS
        children.append(
            Child(
                name=service,
                argv=[sys.executable, "-m", "mesh.serve", service],
                ready=partial(serves, settings.socket_dir / f"{service}.sock"),
                socket=settings.socket_dir / f"{service}.sock",
                settings=own,
                ports={service: public[service]} | ({"http": http_port} if callbacks else {}),
                urls=found_at | ({"http": http_url} if callbacks else {}),
                behind=service != DOOR,
            )
        )
    if importlib.util.find_spec(EDGE_MODULE.split(".")[0]):
        children.append(_edge(settings, ports, public))
    return children


def _edge(settings: Settings, ports: Ports, public: Mapping[str, int]) -> Child:
    """Return the edge: JSON over HTTP for the public port of every service."""
    host = settings.public_host
    port = ports.port(EDGE, wanted=settings.edge_port)
    services = [f"--service={service}={host}:{number}" for service, number in public.items()]
    argv = [sys.executable, "-m", EDGE_MODULE, f"--listen={host}:{port}", *services]
    return Child(
        name=EDGE,
        argv=[
            *argv,
            f"--ca={settings.tls_ca}",
            f"--certificate={settings.tls_cert}",
            f"--key={settings.tls_key}",
        ],
        ready=partial(listens, port),
        ports={EDGE: port},
        urls={EDGE: f"https://{host}:{port}"},
        behind=False,
    )


def _simulator(settings: Settings, ports: Ports) -> Child:
    """Return the simulator with its acquirers, each on a port and with a secret of its own.

    The secrets are in `<home>/secrets/sim.json`, by acquirer and for `control`.
    """
    found_at = {name: ports.port(name) for name in (SIMULATOR, *ACQUIRERS)}
    keys = settings.home / "secrets" / "sim.json"
    if not keys.exists():
        made = {name: token_urlsafe(24) for name in ("control", *ACQUIRERS)}
        write_private(keys, json.dumps(made, indent=1) + "\n")
    journal = settings.home / "sim" / "journal.ndjson"
    private_dir(journal.parent)
    acquirers = [f"--acquirer={name}={found_at[name]}" for name in ACQUIRERS]
    acquirers += [f"--fee-ppm={name}={fee}" for name, fee in zip(ACQUIRERS, FEES_PPM, strict=True)]
    control = found_at[SIMULATOR]
    argv = [sys.executable, "-m", SIMULATOR, *acquirers, f"--control-port={control}"]
    return Child(
        name=SIMULATOR,
        argv=[*argv, f"--secrets={keys}", f"--journal={journal}"],
        ready=partial(listens, control),
        stage=0,
        ports=found_at,
        urls={name: f"http://127.0.0.1:{port}" for name, port in found_at.items()},
    )


def settings_file(home: Path, name: str) -> Path:
    """Return where the settings of the child `name` are."""
    return home / "run" / f"{name}.json"


def write_settings(settings: Settings, child: Child, secrets: Mapping[str, str]) -> None:
    """Write the settings of `child`, complete but for what is none of its business."""
    not_theirs = {"postgres_dsn", "database_dsn", "key_file", "service"}
    shared = settings.model_dump(mode="json", exclude=not_theirs, exclude_none=True)
    own = {**shared, **child.settings, **secrets}
    write_private(settings_file(settings.home, child.name), json.dumps(own, indent=1) + "\n")


def secrets_of(
    child: Child, settings: Settings, servers: tuple[Mapping[str, str], Mapping[str, str]]
) -> dict[str, str]:
    """Return what `child` alone is told: its DSN and its NATS address, over its routes."""
    dsns, urls = servers
    secrets = {}
    if child.name in dsns:
        route = settings.routes.get(f"{child.name}>postgres")
        secrets["database_dsn"] = dsn_over(dsns[child.name], route)
    if url := urls.get(child.name, settings.nats_url):
        secrets["nats_url"] = url_over(url, settings.routes.get(f"{child.name}>nats"))
    return secrets


async def addresses(table: Sequence[Child]) -> tuple[dict[str, int], dict[str, str]]:
    """Return by name how the children are found; not every service has a public door."""
    ports: dict[str, int] = {}
    urls: dict[str, str] = {}
    for child in table:
        closed = [name for name, port in child.ports.items() if not await listens(port)]
        ports |= {name: port for name, port in child.ports.items() if name not in closed}
        urls |= {name: url for name, url in child.urls.items() if name not in closed}
    return ports, urls


async def listens(port: int) -> bool:
    """Return whether somebody takes connections on 127.0.0.1:`port`."""
    try:
        async with asyncio.timeout(_ASK_S):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def serves(socket: Path) -> bool:
    """Return whether a gRPC server on this unix socket says that it is serving."""
    import grpc  # Here: the command line loads this module too, and should be quick.
    from grpc_health.v1 import health_pb2

    # A pool of its own: the shared one remembers a failed try and does not try again at once.
    own = (("grpc.use_local_subchannel_pool", 1),)
    async with grpc.aio.insecure_channel(f"unix:{socket}", options=own) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        try:
            answer = await check(health_pb2.HealthCheckRequest(), timeout=_ASK_S)
        except grpc.aio.AioRpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
