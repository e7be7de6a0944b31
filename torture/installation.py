"""An installation to be broken: a supervisor of its own, every link through the proxy.

The supervisor is a process like the others, `tongbao up`, because it is killed as well;
whoever kills it starts it again, as an operating system's service manager would.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mesh.config import Settings, environment, load, short_dir
from mesh.embedded.pgfiles import lay_out
from mesh.embedded.places import Ports, StartError, make_home, write_private
from mesh.embedded.process import Process
from mesh.supervisor import read_state
from torture import processes
from torture.wires import ACQUIRERS, CALLBACKS, ProxyProcess, Wires, lay_wires

SUPERVISOR = "supervisor"
UP_S = 120.0
DOWN_S = 60.0
_CONNECTION_S = 5  # After so long callers move, so that a service can be rolled in seconds.
_ROLL_S = 20.0
_AGAIN_S = 0.5  # Between the end of a supervisor and its next start.
_POLL_S = 0.05


class Installation:
    """One home with everything in it. `async with` is up and healthy inside, gone outside.

    Raises StartError when it does not come up. `starts` counts how often the supervisor began.
    """

    def __init__(self, folder: Path, *, seed: str) -> None:
        """Prepare the home in `folder`, which must be new."""
        self.home = make_home(folder / "home")
        self._folder, self._seed = folder, seed
        settings = load(home=self.home)
        self.wires: Wires = lay_wires(settings)
        self._database = lay_out(self.home, major=settings.postgres_major)
        self.webhook_port = Ports(self.home).port("webhooks")
        self.monitor_port = Ports(self.home).port("nats_monitor")
        self._file = folder / "settings.json"
        callbacks = f"http://{settings.public_host}:{self.wires.port(CALLBACKS)}"
        told = {
            "home": str(self.home),
            "routes": self.wires.routes(),
            "http_url": callbacks,
            "connection_seconds": _CONNECTION_S,
        }
        write_private(self._file, json.dumps(told, indent=1) + "\n")
        self.settings: Settings = load(home=self.home, routes=told["routes"], http_url=callbacks)
        self.proxy = ProxyProcess(folder / "proxy.log")
        self.starts = 0
        self.left: list[str] = []
        self._process: Process | None = None
        self._verbs: set[int] = set()
        self._keeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        is_up = False
        try:
            await self.proxy.open(self.wires, seed=self._seed)
            self._keeper = asyncio.create_task(self._keep())
            await self.wait_healthy(within=UP_S)
            self._check_ports()
            is_up = True
        finally:
            if not is_up:
                await self._end()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._end()

    def pids(self) -> dict[str, int]:
        """Return the processes that are there to be hit, by name; `supervisor` among them."""
        found: dict[str, int] = dict((self.state() or {}).get("pids", {}))
        if self._process is not None and self._process.returncode is None:
            found[SUPERVISOR] = self._process.pid
        return found

    def state(self) -> dict[str, Any] | None:
        """Return what the supervisor says of itself; None while there is none."""
        with suppress(ValueError):  # It died while it wrote its pid.
            return read_state(self.home)
        return None

    def send(self, name: str, number: int) -> bool:
        """Send a signal to a process by name; return whether it was there."""
        pid = self.pids().get(name)
        return pid is not None and processes.send(pid, number)

    async def wait_healthy(self, *, within: float) -> None:
        """Return when the supervisor says that all is up. Raises StartError."""
        try:
            async with asyncio.timeout(within):
                while not self._is_healthy():  # noqa: ASYNC110  # A file of another process.
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            raise StartError(
                "the installation did not come up",
                why=f"it took longer than {within:.0f} s, in {self.starts} starts",
                next_step=f"Read {self._folder}/up.log and {self.home}/logs",
            ) from None

    async def pass_time(self, seconds: int) -> None:
        """Move business time forward, so that ladders of minutes are climbed in seconds."""
        await self._tongbao("clock", "advance", f"{seconds}s")

    async def roll(self, name: str) -> bool:
        """Replace a service while it runs; return whether that was done in time."""
        return await self._tongbao("roll", name, within=_ROLL_S) == 0

    def remove(self) -> None:
        """Delete what the installation keeps, but for its logs."""
        for place in (self._database.sockets, self._database.root):
            shutil.rmtree(place, ignore_errors=True)
        with suppress(OSError):  # Where its files had to be elsewhere, a link is left.
            (self.home / "postgres").unlink()
        shutil.rmtree(self.home / "nats", ignore_errors=True)
        shutil.rmtree(self.settings.socket_dir, ignore_errors=True)
        shutil.rmtree(short_dir(self.home / "wires"), ignore_errors=True)

    def _check_ports(self) -> None:
        """Refuse a home whose ports were taken by others between our choice and their use."""
        ports = (self.state() or {}).get("ports", {})
        ends = {wire.target.rpartition(":")[2] for wire in self.wires.all}
        for name in ("nats", "trade", "http", *ACQUIRERS):
            if str(ports.get(name)) not in ends:
                raise StartError(
                    f"{name} is at another port than the proxy believes",
                    why="somebody else took the one that was free a moment ago",
                    next_step="Run it again",
                )

    def _is_healthy(self) -> bool:
        state, process = self.state(), self._process
        if process is None or process.returncode is not None or state is None:
            return False
        return bool(state["pid"] == process.pid and state["healthy"])

    async def _keep(self) -> None:
        """Start the supervisor whenever there is none, and let orphans go."""
        while True:
            processes.reap(keep=self._ours())
            if self._process is None or self._process.returncode is not None:
                if self._process is not None:
                    await asyncio.sleep(_AGAIN_S)
                self._start()
            await asyncio.sleep(_POLL_S)

    def _start(self) -> None:
        self.starts += 1
        self._process = Process(
            [sys.executable, "-m", "mesh.cli", "up", "--home", str(self.home), "--json"],
            log=self._folder / "up.log",
            env=environment(self._file),
        )

    def _ours(self) -> set[int]:
        """Return the children that are waited for elsewhere."""
        process = self._process
        return {self.proxy.pid, *self._verbs} | ({process.pid} if process is not None else set())

    async def _end(self) -> None:
        """Stop everything in order; what does not end is killed and named in `left`."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        if self._process is not None:
            await self._process.end(signal.SIGTERM, grace=DOWN_S)
        processes.reap(keep={self.proxy.pid})
        self.left = processes.end_descendants(keep={self.proxy.pid})
        self.proxy.close()
        while processes.descendants(processes.me()):
            processes.reap(keep=())
            await asyncio.sleep(_POLL_S)

    async def _tongbao(self, *arguments: str, within: float = UP_S) -> int | None:
        """Run a verb on our home and return its exit code; None when it took too long."""
        verb = Process(
            [sys.executable, "-m", "mesh.cli", *arguments, "--home", str(self.home)],
            log=self._folder / "verbs.log",
            env=environment(self._file),
        )
        self._verbs.add(verb.pid)
        try:
            return await verb.wait(within=within)
        except TimeoutError:
            return None
        finally:
            await verb.end(grace=1)
            self._verbs.discard(verb.pid)
