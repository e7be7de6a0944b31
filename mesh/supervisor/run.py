"""The supervisor itself: bring everything up, restart what falls, take everything down."""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from mesh.clock import real_now
from mesh.config import Settings, load, services
from mesh.embedded import Nats, Postgres, StartError, prepare_database
from mesh.embedded.places import make_home, private_dir
from mesh.embedded.process import Process
from mesh.pki import prepare_keys
from mesh.supervisor.children import (
    Child,
    Program,
    addresses,
    secrets_of,
    standard_children,
    write_settings,
)
from mesh.supervisor.control import Control, Say
from mesh.supervisor.home import HomeLock, end_leftovers, remove_state, write_state
from mesh.supervisor.schemas import bring_schemas_up
from mesh.supervisor.starting import POLL_S, START_S, not_started, try_out

POSTGRES, NATS = "postgres", "nats"
LEAVE_S = 30.0  # What a relieved program may take once all callers have moved.
BACKOFF_S, BACKOFF_MAX_S = 0.2, 5.0
STEADY_S = 30.0  # Up for so long, the next crash is a new story.
CRASHES_MAX = 3  # While starting; later there is no limit.
_HEALTH_EVERY_S = 1.0
_FROZEN_AFTER = 3  # Failed looks in a row at a server that runs.


class Unit(Protocol):
    """Something the supervisor keeps up: PostgreSQL, NATS, a child."""

    process: Process | None

    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    async def healthy(self) -> bool: ...
    def send(self, number: int) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something a person may want to know: `what` happened to `name`."""

    time: str
    what: str
    name: str
    facts: dict[str, object]


class Supervisor:
    """Everything in one home. `async with Supervisor(home)` is up and healthy inside.

    `children` replaces the standard table (simulator and services); `options` are further
    settings of the embedded PostgreSQL; `tell` hears every event as it happens. Only one
    supervisor can be in a home. If it is killed, the kernel tells its children to end.
    """

    def __init__(
        self,
        home: Path | None = None,
        *,
        settings: Settings | None = None,
        children: Sequence[Child] | None = None,
        options: dict[str, str] | None = None,
        tell: Callable[[Event], None] = lambda _: None,
    ) -> None:
        self.settings = settings or load(home=home)
        self.home = self.settings.home
        self.services = services() if children is None else ()
        self._table = children
        self._options = options
        self._tell = tell
        self._lock = HomeLock(self.home)
        self._units: dict[str, Unit] = {}
        self._keepers: dict[str, asyncio.Task[None]] = {}
        self._watch: asyncio.Task[None] | None = None
        self._crashes: dict[str, int] = {}
        self._since: dict[str, str] = {}
        self._rolling = asyncio.Lock()
        self._control = Control(self.settings.socket_dir, {"roll": self._asked_to_roll})
        self._wanted_restarts: set[str] = set()
        self._ending = False
        self._healthy = False
        self._started = ""
        self.ports: dict[str, int] = {}
        self.urls: dict[str, str] = {}

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
    def pids(self) -> dict[str, int]:
        """The process ids of what runs, by name."""
        processes = {name: unit.process for name, unit in self._units.items()}
        return {
            name: process.pid
            for name, process in processes.items()
            if process is not None and process.returncode is None
        }

    async def start(self) -> None:
        """Bring everything up and return when it is healthy. Raises StartError.

        After an error nothing is left running.
        """
        make_home(self.home)
        self._lock.take()
        self._started = real_now().isoformat()
        try:
            await self._bring_up()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Take everything down: services, simulator, NATS, PostgreSQL."""
        self._ending = True
        await self._control.stop()
        tasks = [*self._keepers.values(), *([self._watch] if self._watch else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)  # So that nobody starts any more.
        for stage in sorted({self._stage(name) for name in self._units}, reverse=True):
            names = [name for name in self._units if self._stage(name) == stage]
            await asyncio.gather(*(self._stop_one(name) for name in names))
        remove_state(self.home)
        self._lock.release()

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to `name`; SIGKILL takes PostgreSQL's backends along."""
        self._units[name].send(number)

    async def restart(self, name: str) -> None:
        """Stop `name`, start it again and return when it is healthy."""
        self._wanted_restarts.add(name)
        try:
            await self._units[name].stop()
            await self._until_healthy([name], within=START_S)
        finally:
            self._wanted_restarts.discard(name)

    async def roll(self, name: str) -> None:
        """Replace the running program `name` by a new one without a call being lost.

        The new one is healthy and in its place before the old one is relieved; that leaves
        when everybody has moved. Raises StartError, with the old one where it was, when there
        is nothing to replace or the new one does not become healthy.
        """
        async with self._rolling:
            old = self._units.get(name)
            if not isinstance(old, Program) or old.child.socket is None:
                raise StartError(
                    f"cannot replace {name} while it runs",
                    why=f"only {', '.join(self._replaceable())} can be",
                    next_step="Name one of these, or stop and start everything",
                )
            new = Program(old.child, self.home)
            await try_out(new, self.home)
            self._say("took over", name, pid=new.process.pid if new.process else None)
            self._keepers.pop(name).cancel()
            self._take_on(name, new)
            try:
                await old.relieve(self.settings.connection_seconds * 1.1 + LEAVE_S)
            finally:
                await old.stop()
            self._say("relieved", name, code=old.process.returncode if old.process else None)

    async def wait_healthy(self, within: float = START_S) -> None:
        """Return when everything is healthy. Raises StartError after `within` seconds."""
        await self._until_healthy(list(self._units), within=within)

    async def _bring_up(self) -> None:
        for pid in await end_leftovers(self.home):
            self._say("killed", "leftover", pid=pid)
        private_dir(self.settings.socket_dir)
        prepare_keys(self.home, self.services)
        servers = await self._start_servers()
        table = self._table
        if table is None:
            table = standard_children(self.settings, self.services)
        for child in table:
            write_settings(self.settings, child, secrets_of(child, self.settings, servers))
        if self.services:
            await bring_schemas_up(self.home)
        for stage in sorted({child.stage for child in table}):
            names = [child.name for child in table if child.stage == stage]
            for child in table:
                if child.stage == stage:
                    await self._start_one(child.name, Program(child, self.home))
            await self._until_healthy(names, within=START_S)
        ports, urls = await addresses(table)
        self.ports |= ports
        self.urls |= urls
        self._watch = asyncio.create_task(self._watch_nats())
        await self._control.start()
        self._healthy = True
        self._write_state()

    async def _start_servers(self) -> tuple[dict[str, str], dict[str, str]]:
        """Start what is embedded; return each service's DSN and NATS address."""
        starts = []
        if self.settings.postgres_dsn is None:
            postgres = Postgres(
                self.home,
                port=self.settings.postgres_port,
                major=self.settings.postgres_major,
                options=self._options,
            )
            starts.append(self._start_one(POSTGRES, postgres))
        if self.settings.nats_url is None:
            nats = Nats(self.home, services=self.services, port=self.settings.nats_port)
            starts.append(self._start_one(NATS, nats))
        await _all(starts)
        admin, exclusive = self.settings.postgres_dsn, False
        if isinstance(server := self._units.get(POSTGRES), Postgres):
            self.ports[POSTGRES] = server.port
            for note in server.notes:
                self._say("note", POSTGRES, text=note)
            admin, exclusive = server.admin_dsn, True
        assert admin is not None
        dsns = await prepare_database(
            admin, self.services, secrets=self.home / "secrets", exclusive=exclusive
        )
        urls = {}
        if isinstance(messages := self._units.get(NATS), Nats):
            self.ports[NATS] = messages.port
            urls = {service: messages.url(service) for service in self.services}
        return dsns, urls

    async def _start_one(self, name: str, unit: Unit) -> None:
        begun = asyncio.get_running_loop().time()
        self._units[name] = unit
        await unit.start()
        seconds = asyncio.get_running_loop().time() - begun
        self._say("started", name, pid=self.pids.get(name), seconds=round(seconds, 3))
        self._take_on(name, unit)

    def _take_on(self, name: str, unit: Unit) -> None:
        """Keep the running `unit` up from now on."""
        self._units[name] = unit
        self._since[name] = real_now().isoformat()
        self._keepers[name] = asyncio.create_task(self._keep(name, unit))
        self._write_state()

    async def _asked_to_roll(self, request: dict[str, object], say: Say) -> dict[str, object]:
        """Roll the services of a request, or all; the schemas first, for what is new in them."""
        wanted = request.get("names")
        names = [str(name) for name in wanted] if isinstance(wanted, list) else []
        names = names or self._replaceable()
        if self.services:
            await bring_schemas_up(self.home)
        for name in names:
            say({"event": "rolling", "name": name})
            begun = asyncio.get_running_loop().time()
            await self.roll(name)
            seconds = round(asyncio.get_running_loop().time() - begun, 1)
            say({"event": "rolled", "name": name, "pid": self.pids.get(name), "seconds": seconds})
        return {"rolled": names}

    def _replaceable(self) -> list[str]:
        units = self._units.items()
        return [n for n, unit in units if isinstance(unit, Program) and unit.child.socket]

    async def _stop_one(self, name: str) -> None:
        if (process := self._units[name].process) is not None:
            await self._units[name].stop()
            self._say("stopped", name, code=process.returncode)

    async def _keep(self, name: str, unit: Unit) -> None:
        """Start `unit` again whenever it has ended, later and later if it keeps ending."""
        loop = asyncio.get_running_loop()
        delay, began = BACKOFF_S, loop.time()
        while not self._ending:
            assert unit.process is not None
            code = await unit.process.wait()
            wanted = name in self._wanted_restarts
            self._wanted_restarts.discard(name)
            if wanted or loop.time() - began >= STEADY_S:
                delay = BACKOFF_S
            if not wanted:
                self._crashes[name] = self._crashes.get(name, 0) + 1
                self._say("exited", name, code=code, again_in=delay)
                await asyncio.sleep(delay)
                delay = min(delay * 2, BACKOFF_MAX_S)
            began = loop.time()
            try:
                await unit.start()
                self._since[name] = real_now().isoformat()
                self._write_state()
            except StartError as error:
                self._say("not started", name, why=str(error))
            else:
                self._say("restarted", name, pid=self.pids.get(name))

    async def _watch_nats(self) -> None:
        """Restart NATS when it runs but cannot keep anything: a full disk froze its store."""
        unit = self._units.get(NATS)
        looks = 0
        while unit is not None:
            await asyncio.sleep(_HEALTH_EVERY_S)
            looks = 0 if NATS not in self.pids or await unit.healthy() else looks + 1
            if looks == _FROZEN_AFTER:
                self._say("frozen", NATS)
                looks = 0
                await unit.stop()

    async def _until_healthy(self, names: Sequence[str], *, within: float) -> None:
        """Return when all of `names` are healthy. Raises StartError naming who is not."""
        late = list(names)
        before = dict(self._crashes)
        try:
            async with asyncio.timeout(within):
                while late := [n for n in late if not await self._units[n].healthy()]:
                    for name in late:
                        if self._crashes.get(name, 0) - before.get(name, 0) >= CRASHES_MAX:
                            raise self._late(name, f"it ended {CRASHES_MAX} times in a row")
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            raise self._late(late[0], f"it is not ready after {within:.0f} s") from None

    def _late(self, name: str, why: str) -> StartError:
        return not_started(name, why, self._units[name].process, self.home)

    def _stage(self, name: str) -> int:
        """Return when `name` ends: PostgreSQL last, before it NATS, then the children's own."""
        unit = self._units[name]
        if isinstance(unit, Program):
            return unit.child.stage
        return -2 if name == POSTGRES else -1

    def _say(self, what: str, name: str, **facts: object) -> None:
        """Tell the listener, and write a line to the log."""
        event = Event(time=real_now().isoformat(), what=what, name=name, facts=facts)
        line = {"time": event.time, "event": what, "name": name, **facts}
        # A full disk must not keep us from restarting what it stopped.
        with suppress(OSError), (self.home / "logs" / "supervisor.log").open("a") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._tell(event)

    def _write_state(self) -> None:
        write_state(
            self.home,
            {
                "pid": os.getpid(),
                "started": self._started,
                "healthy": self._healthy,
                "version": importlib.metadata.version("tongbao"),
                "since": self._since,
                "restarts": self._crashes,
                "pids": self.pids,
                "ports": self.ports,
                "urls": self.urls,
            },
        )


async def _all(starts: Sequence[Awaitable[None]]) -> None:
    """Await all, also when one fails: what was started must be known to be stopped."""
    for outcome in await asyncio.gather(*starts, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
