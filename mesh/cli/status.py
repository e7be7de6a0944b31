"""`tongbao status`: what runs, whether it answers, and whether it keeps up."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from mesh.cli.output import AsJson, Home, show, table
from mesh.clock import real_now
from mesh.config import Settings, load, services
from mesh.standing import Standing, standings
from mesh.supervisor import read_state
from mesh.supervisor.children import listens, serves

HEADS = ["", "pid", "up", "restarts", "port", "", "outbox", "late", "address"]


def status(*, home: Home = None, as_json: AsJson = False) -> int:
    """Show what runs in a home, whether it answers, and whether it keeps up.

    `outbox` is how many events wait to be published and for how long the oldest has; `late`
    is by how much the row is late that should have been taken first. Examples: `tongbao
    status`, `watch tongbao status`, `tongbao status --json | jq .parts`. Exit codes: 0 everything
    answers; 1 nothing runs, or something does not answer.

    Parameters
    ----------
    home
        The home to look at. Default: .tongbao, or TONGBAO_HOME.
    as_json
        Write JSON.
    """
    settings = load(home=home)
    state = read_state(settings.home)
    if state is None:
        told = {"running": False, "home": str(settings.home)}
        text = f"nothing runs in {settings.home}; `tongbao up` starts it"
        show(text, told, as_json=as_json)
        return 1
    answers, behind = asyncio.run(_look(state, settings))
    parts = [_part(name, answer, state, behind.get(name)) for name, answer in answers.items()]
    silent = [name for name, answer in answers.items() if not answer]
    well = f"no answer of {', '.join(silent)}" if silent else "healthy"
    began = datetime.fromisoformat(state["started"])
    text = (
        f"version {state['version']}, pid {state['pid']}, up for {_span(_age(began))}, "
        f"{well if state['healthy'] else 'starting'}\n"
        f"{table([HEADS, *map(_row, parts)])}"
    )
    show(text, {"running": True, **state, "parts": parts}, as_json=as_json)
    return 0 if all(answers.values()) else 1


def _part(name: str, answer: bool, state: Mapping[str, Any], behind: Any) -> dict[str, Any]:
    """Return what is told of one part; what does not apply to it is None."""
    since = state["since"].get(name)
    here = isinstance(behind, Standing)
    return {
        "name": name,
        "pid": state["pids"].get(name),
        "port": state["ports"].get(name),
        "url": state["urls"].get(name),
        "answers": answer,
        "up_seconds": _age(datetime.fromisoformat(since)) if since else None,
        "restarts": state["restarts"].get(name, 0) if name in state["pids"] else None,
        "outbox_rows": behind.outbox_rows if here else None,
        "outbox_seconds": behind.outbox_seconds if here else None,
        "late_seconds": behind.late_seconds if here else None,
        "dead_letters": behind.dead_letters if here else None,
    }


def _row(part: Mapping[str, Any]) -> list[str]:
    outbox = ""
    if part["outbox_rows"] is not None:
        outbox = f"{part['outbox_rows']}"
        outbox += f" ({part['outbox_seconds']} s)" if part["outbox_rows"] else ""
    return [
        part["name"],
        str(part["pid"] or "-"),
        "-" if part["up_seconds"] is None else _span(part["up_seconds"]),
        "-" if part["restarts"] is None else str(part["restarts"]),
        str(part["port"] or "-"),
        "ok" if part["answers"] else "no answer",
        outbox,
        f"{part['late_seconds']} s" if part["late_seconds"] else "",
        part["url"] or "",
    ]


async def _look(
    state: Mapping[str, Any], settings: Settings
) -> tuple[dict[str, bool], dict[str, Standing]]:
    answers = await _ask(state, settings.socket_dir)
    behind = await standings(settings.home, services()) if answers.get("postgres", True) else {}
    return answers, behind


async def _ask(state: Mapping[str, Any], sockets: Path) -> dict[str, bool]:
    """Ask every part at once: services on their socket, the others on their port."""
    names = [*state["pids"], *(name for name in state["ports"] if name not in state["pids"])]

    async def one(name: str) -> bool:
        if (sockets / f"{name}.sock").exists():
            return await serves(sockets / f"{name}.sock")
        port = state["ports"].get(name)
        return name in state["pids"] if port is None else await listens(port)

    return dict(zip(names, await asyncio.gather(*map(one, names)), strict=True))


def _age(since: datetime) -> int:
    return max(0, int((real_now() - since).total_seconds()))


def _span(seconds: int) -> str:
    """Return a number of seconds as people say it: `42 s`, `5 m 3 s`, `2 d 4 h`."""
    for unit, size, less, small in (("d", 86_400, "h", 3600), ("h", 3600, "m", 60),
                                    ("m", 60, "s", 1)):  # fmt: skip
        if seconds >= size:
            return f"{seconds // size} {unit} {seconds % size // small} {less}"
    return f"{seconds} s"
