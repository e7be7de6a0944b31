"""Show how far business time is ahead of real time, or move it forward, for everybody.

Everybody is every service, and the simulator where one runs: it has a clock of its own, which
follows ours by its control port. It goes last, so that what falls due at a provider by the
jump reaches services that are there already.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path

import aiohttp
from cyclopts import App

from mesh.batch import NotExecuted, Rejected, Undone, Unknown
from mesh.cli.callers import running_state
from mesh.cli.output import AsJson, Home, show
from mesh.clock import Clock
from mesh.config import ConfigError, load, services
from mesh.db import Database
from mesh.embedded.places import StartError
from mesh.upkeep import make_partitions

clock = App(name="clock", help=__doc__)

SIMULATOR = "sim"
_SIMULATOR_SECONDS = 10.0

_SHIFT = "SELECT extract(epoch FROM shift)::bigint AS seconds FROM clock"
_SPAN = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


@clock.command(name="show")
def show_clock(*, home: Home = None, as_json: AsJson = False) -> int:
    """Show how far business time is ahead.

    Exit codes: 0 all services agree; 1 they do not, or nothing runs.

    Parameters
    ----------
    home
        The home it runs in. Default: .tongbao, or TONGBAO_HOME.
    as_json
        Write JSON.
    """
    place = load(home=home).home
    running_state(place)
    shifts = asyncio.run(_shifts(place))
    return _tell(shifts, as_json=as_json)


@clock.command
def advance(by: str, *, home: Home = None, as_json: AsJson = False) -> int:
    """Move business time forward for everybody; it never goes back.

    Whoever was left behind by an interrupted call catches up first. Services follow within a
    second. Exit codes: 0 done; 1 nothing runs, or the simulator does not answer; 2 `by` is not
    a span of time.

    Parameters
    ----------
    by
        A span such as `1d`, `2h30m` or `1d2h3m4s`.
    home
        The home it runs in. Default: .tongbao, or TONGBAO_HOME.
    as_json
        Write JSON.
    """
    span = parse_span(by)
    place = load(home=home).home
    running_state(place)
    shifts = asyncio.run(_advance(place, span))
    return _tell(shifts, as_json=as_json)


def parse_span(text: str) -> timedelta:
    """Return `1d2h3m4s` as a duration. Raises ConfigError."""
    match = _SPAN.fullmatch(text)
    if not match or not any(match.groups()):
        raise ConfigError(f"by: must be a span such as 1d, 2h30m or 1d2h3m4s (got {text!r})")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


async def _shifts(home: Path) -> dict[str, timedelta]:
    """Return how far each clock is ahead. Raises StartError: the simulator does not answer."""
    async with _databases(home) as databases, _simulator(home) as simulator:
        return await _read(databases) | await simulator.shift()


async def _advance(home: Path, by: timedelta) -> dict[str, timedelta]:
    """Move every clock to the one farthest ahead, plus `by`.

    Raises StartError: the simulator does not answer. It is asked before anything is moved.
    """
    async with _databases(home) as databases, _simulator(home) as simulator:
        shifts = await _read(databases)
        goal = max((shifts | await simulator.shift()).values()) + by
        moved = {
            service: await Clock().advance(db, goal - shifts[service])
            for service, db in databases.items()
        }
        for db in databases.values():
            # Else made within ten minutes by the services, which is late for what is booked now.
            with suppress(NotExecuted, Undone, Unknown, Rejected):
                await make_partitions(db)
        return moved | await simulator.follow(goal)


class _Simulator:
    """The simulator's clock, by its control port; without an address there is no simulator."""

    def __init__(self, url: str, secret: str, session: aiohttp.ClientSession) -> None:
        self._url, self._session = f"{url}/_ctl/clock", session
        self._headers = {"Authorization": f"Bearer {secret}"}
        self._is_there = bool(url)

    async def shift(self) -> dict[str, timedelta]:
        """Return how far it is ahead, by its name; nothing when there is none."""
        if not self._is_there:
            return {}
        said = json.loads(await self._ask("GET"))
        return {SIMULATOR: timedelta(seconds=said["shift_seconds"])}

    async def follow(self, shift: timedelta) -> dict[str, timedelta]:
        """Move it to where the services are."""
        if not self._is_there:
            return {}
        await self._ask("POST", shift_seconds=int(shift.total_seconds()))
        return {SIMULATOR: shift}

    async def _ask(self, method: str, **said: int) -> bytes:
        try:
            async with self._session.request(
                method, self._url, json=said or None, headers=self._headers, raise_for_status=True
            ) as reply:
                return await reply.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise StartError(
                "the simulator does not answer",
                why=f"its clock is asked at {self._url}: {error!r}",
                next_step="Run `tongbao clock advance 0s` when it is up again: all will agree",
            ) from error


@asynccontextmanager
async def _simulator(home: Path) -> AsyncIterator[_Simulator]:
    """Yield the simulator that the supervisor started, if it did."""
    url = running_state(home)["urls"].get(SIMULATOR, "")
    secrets = home / "secrets" / "sim.json"
    secret = json.loads(secrets.read_text())["control"] if url else ""
    timeout = aiohttp.ClientTimeout(total=_SIMULATOR_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        yield _Simulator(url, secret, session)


@asynccontextmanager
async def _databases(home: Path) -> AsyncIterator[dict[str, Database]]:
    """Yield every service's database, opened as its own role."""
    async with AsyncExitStack() as stack:
        yield {
            service: await stack.enter_async_context(Database(_dsn(home, service)))
            for service in services()
        }


async def _read(databases: Mapping[str, Database]) -> dict[str, timedelta]:
    shifts = {}
    for service, db in databases.items():
        [row] = await db.rows(_SHIFT)
        shifts[service] = timedelta(seconds=row.seconds)
    return shifts


def _dsn(home: Path, service: str) -> str:
    """Return the DSN that the supervisor wrote for `service`."""
    return str(json.loads((home / "run" / f"{service}.json").read_text())["database_dsn"])


def _tell(shifts: Mapping[str, timedelta], *, as_json: bool) -> int:
    seconds = {service: int(shift.total_seconds()) for service, shift in shifts.items()}
    agreed = len(set(shifts.values())) == 1
    if agreed:
        text = f"business time is {next(iter(shifts.values()))} ahead of real time"
    else:
        lines = [f"{service} {shift}" for service, shift in shifts.items()]
        text = "the clocks disagree; `tongbao clock advance 0s` mends it\n" + "\n".join(lines)
    show(text, {"shift_seconds": seconds, "agreed": agreed}, as_json=as_json)
    return 0 if agreed else 1
