"""`tongbao up`: everything on this machine, in the foreground or detached."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from mesh.cli.output import AsJson, Home, show, table
from mesh.config import load
from mesh.embedded.places import StartError, make_home
from mesh.supervisor import Event, Supervisor, read_state

_DETACHED_S = 180.0
_POLL_S = 0.05


def up(
    *,
    home: Home = None,
    detach: Annotated[bool, Parameter(negative=())] = False,
    as_json: AsJson = False,
) -> int:
    """Start PostgreSQL, NATS and all services on this machine.

    Stays in the foreground and shows what happens until Ctrl-C, which stops all in order. If
    everything runs already, it says what runs and leaves it alone. Examples: `tongbao up`,
    `tongbao up --detach --json`. Exit codes: 0 stopped as asked, healthy with --detach, or up
    already; 1 something did not start.

    Parameters
    ----------
    home
        Where data, keys and logs are kept. Default: .tongbao, or TONGBAO_HOME.
    detach
        Return when everything is healthy and leave it running; `tongbao down` ends it.
    as_json
        Write one JSON object a line.
    """
    settings = load(home=home)
    state = read_state(settings.home)
    if state is not None and state["healthy"]:
        told = {"event": "up already", "home": str(settings.home), **state}
        show(f"up already, {_told(settings.home, state)}", told, as_json=as_json)
        return 0
    if detach:
        return _detach(settings.home, as_json=as_json)
    asyncio.run(_stay(Supervisor(settings=settings, tell=_Teller(as_json)), as_json=as_json))
    return 0


class _Teller:
    """Writes each event as a line."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json

    def __call__(self, event: Event) -> None:
        facts = {key: value for key, value in event.facts.items() if value is not None}
        data = {"time": event.time, "event": event.what, "name": event.name, **facts}
        details = "  ".join(f"{key} {value}" for key, value in facts.items())
        clock = event.time[11:19]
        show(f"{clock}  {event.name:<12} {event.what:<12} {details}", data, as_json=self._as_json)


async def _stay(supervisor: Supervisor, *, as_json: bool) -> None:
    """Run until a signal asks for the end; a signal while starting ends it as well."""
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()

    def ask() -> None:
        if not asked.is_set():  # A second Ctrl-C must not cut the orderly stop short.
            asked.set()
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ask)
    try:
        async with supervisor:
            show(_addresses(supervisor), _ready(supervisor), as_json=as_json)
            await asyncio.Event().wait()
    except asyncio.CancelledError:
        if not asked.is_set():
            raise


def _ready(supervisor: Supervisor) -> dict[str, object]:
    return {
        "event": "ready",
        "home": str(supervisor.home),
        "ports": supervisor.ports,
        "urls": supervisor.urls,
    }


def _addresses(supervisor: Supervisor) -> str:
    rows = [[name, url] for name, url in sorted(supervisor.urls.items())]
    addresses = table(rows) + "\n" if rows else ""
    return f"\n{addresses}All is up. Logs: {supervisor.home}/logs. Ctrl-C stops it."


def _told(home: Path, state: dict[str, Any]) -> str:
    """Return who runs since when, where everything is found, and how to go on."""
    rows = [[name, url] for name, url in sorted(state["urls"].items())]
    lines = [
        f"pid {state['pid']} since {state['started'][:19]}",
        *(table(rows).splitlines() if rows else ()),
        f"logs: {home}/logs (`tongbao logs <name> -f`); `tongbao status` looks, "
        "`tongbao down` stops it",
    ]
    return "\n".join(lines)


def _detach(home: Path, *, as_json: bool) -> int:
    """Start the same command in a process of its own and return when it is healthy."""
    make_home(home)
    log = home / "logs" / "up.log"
    command = [sys.executable, "-m", "mesh.cli", "up", "--home", str(home), "--json"]
    with log.open("w") as file:
        process = subprocess.Popen(  # noqa: S603  # Our own command.
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    give_up = time.monotonic() + _DETACHED_S
    while process.poll() is None and time.monotonic() < give_up:
        state = read_state(home)
        if state and state["pid"] == process.pid and state["healthy"]:
            told = {"event": "ready", "home": str(home), **state}
            show(f"up, {_told(home, state)}", told, as_json=as_json)
            return 0
        time.sleep(_POLL_S)
    process.terminate()
    process.wait()
    raise _why(log)


def _why(log: Path) -> StartError:
    """Return the error that the detached command wrote as its last line."""
    last = (log.read_text().strip().splitlines() or [""])[-1]
    try:
        told = json.loads(last)
        return StartError(told["error"], why=told["why"], next_step=told["next"])
    except (ValueError, KeyError):
        return StartError("cannot start", why=last or "it ended", next_step=f"Read {log}")
