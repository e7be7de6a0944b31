"""PostgreSQL as a child process: safe settings, scram everywhere, starts again after kill -9."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
from psycopg.conninfo import make_conninfo

from mesh.embedded.pgfiles import Layout, end_workers, holder, lay_out
from mesh.embedded.places import (
    Ports,
    StartError,
    explained,
    make_home,
    port_in_use,
    secret,
    write_private,
)
from mesh.embedded.process import BEHIND, Process
from mesh.embedded.roles import DATABASE, password_file

SUPERUSER = "postgres"
READY_S = 120.0  # Recovery after a crash may have 4 GB of log to read.
LEAVE_S = 5.0  # For a server whose supervisor died just now.
STOP_S = 20.0
_POLL_S = 0.01

SETTINGS: Mapping[str, str] = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "512MB",
    # Durability: what was acknowledged survives the loss of power.
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "data_sync_retry": "off",
    # Few checkpoints: after each one every page is written to the log as a whole.
    "checkpoint_timeout": "15min",
    "max_wal_size": "4GB",
    "min_wal_size": "512MB",
    "wal_compression": "off",
    # Kept plans are made anew when a table was looked at: soon after the first rows, then each
    # time it has grown by half. To look at 3,000 rows is enough where statements go by keys; to
    # look at 30,000 of every table every two seconds was a third of the server's work
    # (docs/decisions/0017).
    "autovacuum_naptime": "5s",
    "autovacuum_vacuum_threshold": "1000",
    "autovacuum_vacuum_scale_factor": "0.2",
    "autovacuum_vacuum_insert_scale_factor": "0.5",
    "autovacuum_analyze_threshold": "1000",
    "autovacuum_analyze_scale_factor": "0.5",
    "autovacuum_vacuum_cost_limit": "2000",
    "default_statistics_target": "10",
    "random_page_cost": "1.1",
    "jit": "off",
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    "log_error_verbosity": "terse",  # The detail of an error may hold a person's data.
}

HBA = """\
local  all          all                      scram-sha-256
local  replication  postgres                 scram-sha-256
host   all          all       127.0.0.1/32   scram-sha-256
"""


class Postgres:
    """One PostgreSQL server with its files in `home`. Not running until `start`.

    `options` are further server settings and win over ours. `port` 0 is a free one, kept
    from start to start as long as nobody else takes it.
    """

    def __init__(
        self,
        home: Path,
        *,
        port: int = 0,
        major: int = 18,
        options: Mapping[str, str] | None = None,
    ) -> None:
        self.home = home.absolute()
        self.major = major
        self.notes: tuple[str, ...] = ()
        self._wanted_port = port
        self._options = dict(options or {})
        self._layout: Layout | None = None
        self._port: int | None = None
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
        return self.home / "logs" / "postgres.log"

    @property
    def data(self) -> Path:
        """The data directory. Known from the first start."""
        return self.layout.data

    @property
    def layout(self) -> Layout:
        """Where everything is. Known from the first start."""
        assert self._layout is not None, "not started yet"
        return self._layout

    @property
    def port(self) -> int:
        """The TCP port on 127.0.0.1. Known from the first start."""
        assert self._port is not None, "not started yet"
        return self._port

    @property
    def pid(self) -> int:
        """The process id of the postmaster."""
        assert self.process is not None, "not started yet"
        return self.process.pid

    @property
    def admin_dsn(self) -> str:
        """The superuser, over the unix socket."""
        return self._dsn(SUPERUSER, self.home / "secrets" / SUPERUSER, SUPERUSER)

    def dsn(self, service: str, *, database: str = DATABASE) -> str:
        """Return the DSN of the role `service`, which `prepare_database` has made."""
        return self._dsn(service, password_file(self.home / "secrets", service), database)

    def _dsn(self, user: str, file: Path, database: str) -> str:
        return make_conninfo(
            host=str(self.layout.sockets),
            port=self.port,
            user=user,
            password=file.read_text().strip(),
            dbname=database,
        )

    async def start(self) -> None:
        """Start the server and return when it takes connections. Raises StartError."""
        assert self.process is None or self.process.returncode is not None, "already running"
        make_home(self.home)
        self._layout = lay_out(self.home, major=self.major)
        self.notes = self._layout.notes
        _check_version(self.data, self.major)
        await self._wait_for_holder()
        if self._port is None:
            self._port = Ports(self.home).port("postgres", wanted=self._wanted_port)
        if not (self.data / "PG_VERSION").exists():
            await self._initdb()
        with explained("cannot write PostgreSQL's settings"):
            self._configure()
        self.process = self._spawn("postgres", "-D", str(self.data))
        await self._wait_until_ready(self.process)

    async def stop(self) -> None:
        """Stop the server: connections are cut, nothing acknowledged is lost."""
        if self.process is None:
            return
        self.process.send(signal.SIGINT)
        try:
            await self.process.wait(within=STOP_S)
        except TimeoutError:  # Not even a checkpoint in that time: recovery does the rest.
            await self.process.end(signal.SIGQUIT, grace=STOP_S)

    def send(self, number: int) -> None:
        """Send a signal to the postmaster; SIGKILL to all backends as well, like a power cut."""
        assert self.process is not None, "not started yet"
        self.process.send(number)
        if number == signal.SIGKILL:
            end_workers(self.data)

    async def kill(self) -> None:
        """Kill all processes of the server and return when they are gone."""
        self.send(signal.SIGKILL)
        assert self.process is not None
        await self.process.wait()
        await self._end_workers()

    async def restart(self) -> None:
        """Stop and start on the same data and port."""
        await self.stop()
        await self.start()

    async def healthy(self) -> bool:
        """Return whether the server answers a query."""
        try:
            dsn = make_conninfo(self.admin_dsn, connect_timeout=2)
            async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
                await connection.execute("SELECT 1")
        except psycopg.Error:
            return False
        return True

    def remove(self) -> None:
        """Delete all files of a stopped server, also those that had to be elsewhere."""
        assert self.process is None or self.process.returncode is not None, "still running"
        if self._layout is not None:
            shutil.rmtree(self._layout.sockets, ignore_errors=True)
            shutil.rmtree(self._layout.root, ignore_errors=True)

    def _spawn(self, name: str, *arguments: str) -> Process:
        argv = [str(self.layout.program / name), *arguments]
        env = {"LC_ALL": "C", "PATH": "/usr/bin:/bin", "TZ": "UTC"}
        # SIGINT: if the supervisor is killed, stop as `stop` does, without waiting for clients.
        return Process(
            argv,
            log=self.log,
            user=self.layout.user,
            death_signal=signal.SIGINT,
            env=env,
            niceness=BEHIND,
        )

    async def _wait_for_holder(self) -> None:
        """Return when nobody works in the data directory. Raises StartError."""
        try:
            async with asyncio.timeout(LEAVE_S):
                while holder(self.data) is not None:  # noqa: ASYNC110  # Not our child.
                    await asyncio.sleep(_POLL_S)
                # What a killed server left would stop the next: orphaned backends, and two
                # files with its pid, which may by now be a zombie's or a stranger's.
                await self._end_workers()
        except TimeoutError:
            raise StartError(
                f"cannot start PostgreSQL in {self.data}",
                why=f"a server with pid {holder(self.data)} runs on this data",
                next_step="Stop it by `tongbao down`, or name another home",
            ) from None
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        for file in self.layout.sockets.glob(".s.PGSQL.*"):
            file.unlink()

    async def _end_workers(self) -> None:
        """Kill whoever works in the data directory; return when they are gone."""
        while end_workers(self.data):  # noqa: ASYNC110  # Not our children.
            await asyncio.sleep(_POLL_S)

    async def _initdb(self) -> None:
        """Create the data directory as a whole or not at all."""
        draft = self.layout.root / "data.new"
        pwfile = self.layout.root / "password"
        password = secret(self.home / "secrets" / SUPERUSER)
        with explained("cannot create PostgreSQL's data"):
            shutil.rmtree(draft, ignore_errors=True)
            pwfile.unlink(missing_ok=True)
            write_private(pwfile, password + "\n")
            if self.layout.user is not None:
                os.chown(pwfile, self.layout.user, self.layout.user)
        process = self._spawn(
            "initdb",
            *("--pgdata", str(draft), "--username", SUPERUSER, "--pwfile", str(pwfile)),
            *("--auth", "scram-sha-256", "--data-checksums", "--encoding", "UTF8"),
            *_locale(self.major),
        )
        try:
            code = await process.wait()
        finally:
            process.send(signal.SIGKILL)  # For when we are cancelled.
            pwfile.unlink()
        if code != 0:
            raise self._start_error(process, "cannot create PostgreSQL's data")
        draft.rename(self.data)

    def _configure(self) -> None:
        """Write the settings. They are ours: a change by hand is lost at the next start."""
        places = {"port": str(self.port), "unix_socket_directories": str(self.layout.sockets)}
        settings = {**SETTINGS, **self._options, **places}
        lines = [f"{name} = '{value.replace(chr(39), chr(39) * 2)}'\n"
                 for name, value in settings.items()]  # fmt: skip
        for name, text in (("postgresql.conf", "".join(lines)), ("pg_hba.conf", HBA)):
            write_private(self.data / name, text)
            if self.layout.user is not None:
                os.chown(self.data / name, self.layout.user, self.layout.user)

    async def _wait_until_ready(self, process: Process) -> None:
        """Return when `postmaster.pid` says ready: what pg_ctl looks at, without a login."""
        try:
            async with asyncio.timeout(READY_S):
                while not _says_ready(self.data, process.pid):
                    if process.returncode is not None:
                        raise self._start_error(process, "PostgreSQL did not start")
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            await process.end(signal.SIGQUIT, grace=STOP_S)
            raise StartError(
                "PostgreSQL did not become ready",
                why=f"it took longer than {READY_S:.0f} s",
                next_step=f"Read {self.log}",
            ) from None

    def _start_error(self, process: Process, what: str) -> StartError:
        """Return why `process` gave up, from what it wrote to its log."""
        said = process.said()
        if "Address already in use" in said and self._port is not None:
            return port_in_use("postgres", self._port)
        for phrase, why, step in _REASONS:
            if phrase in said:
                return StartError(what, why=why, next_step=step)
        lines = [line for line in said.splitlines() if "FATAL" in line or "error" in line]
        why = (lines or said.splitlines() or ["it said nothing"])[-1].strip()
        return StartError(what, why=why, next_step=f"Read {self.log}")


_REASONS = (
    ("No space left on device", "the disk is full", "Free some space and start again"),
    (
        "Permission denied",
        "its user cannot reach or write a directory",
        "Name another home by --home or TONGBAO_HOME",
    ),
    (
        "could not look up effective user ID",
        "PostgreSQL wants its user to have a name, and /etc/passwd has none for it",
        "Run tongbao as a user with a name, or name a server by TONGBAO_POSTGRES_DSN",
    ),
    (
        "as user 65534: [Errno 22]",
        "this container knows no user 65534, and PostgreSQL does not run as root",
        "Run tongbao as an ordinary user",
    ),
    (
        "database files are incompatible",
        "the data were written by another PostgreSQL",
        "Set TONGBAO_POSTGRES_MAJOR to the version that wrote them",
    ),
)


def _check_version(data: Path, major: int) -> None:
    file = data / "PG_VERSION"
    found = file.read_text().strip() if file.exists() else str(major)
    if found != str(major):
        raise StartError(
            f"PostgreSQL {major} cannot use {data}",
            why=f"the data were written by PostgreSQL {found}",
            next_step=f"Set TONGBAO_POSTGRES_MAJOR={found}, or dump there and load here",
        )


def _locale(major: int) -> tuple[str, ...]:
    """Text sorts by bytes wherever the server runs; letters are still known as such."""
    if major < 17:
        return ("--locale", "C.UTF-8")
    return ("--locale-provider", "builtin", "--builtin-locale", "C.UTF-8", "--locale", "C")


def _says_ready(data: Path, pid: int) -> bool:
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return False
    return len(lines) > 7 and lines[0] == str(pid) and lines[7].strip() == "ready"
