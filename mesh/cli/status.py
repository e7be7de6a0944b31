"""`tongbao status`: what runs, and whether it answers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mesh.cli.output import AsJson, Home, show, table
from mesh.config import load
from mesh.supervisor import read_state
from mesh.supervisor.children import listens, serves


def status(*, home: Home = None, as_json: AsJson = False) -> int:
    """Show what runs in a home and whether it answers.

    Exit codes: 0 everything answers; 1 nothing runs, or something does not answer.

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
    answers = asyncio.run(_ask(state, settings.socket_dir))
    parts = [
        {
            "name": name,
            "pid": state["pids"].get(name),
            "port": state["ports"].get(name),
            "url": state["urls"].get(name),
            "answers": answer,
        }
        for name, answer in answers.items()
    ]
    heads = [["", "pid", "port", "", "address"]]
    rows = [[part["name"], str(part["pid"] or "-"), str(part["port"] or "-"),
             "ok" if part["answers"] else "no answer", part["url"] or ""]
            for part in parts]  # fmt: skip
    text = f"pid {state['pid']}, up since {state['started'][:19]}\n{table(heads + rows)}"
    told = {"running": True, **state, "parts": parts}
    show(text, told, as_json=as_json)
    return 0 if all(answers.values()) else 1


async def _ask(state: Mapping[str, Any], sockets: Path) -> dict[str, bool]:
    """Ask every part at once: services on their socket, the others on their port."""
    names = [*state["pids"], *(name for name in state["ports"] if name not in state["pids"])]

    async def one(name: str) -> bool:
        if (sockets / f"{name}.sock").exists():
            return await serves(sockets / f"{name}.sock")
        port = state["ports"].get(name)
        return name in state["pids"] if port is None else await listens(port)

    return dict(zip(names, await asyncio.gather(*map(one, names)), strict=True))
