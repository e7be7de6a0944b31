"""Flame graphs of the services and of the load itself, by py-spy where it is on the path."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

SECONDS, RATE = 15, 97
_SPY = "py-spy"
_NOT_PYTHON = frozenset({"postgres", "nats"})


def missing() -> str:
    """Return what to say when no flame graphs can be made; empty when they can."""
    if shutil.which(_SPY):
        return ""
    return f"NO FLAME GRAPHS: {_SPY} is not on the path (pip install {_SPY}, and put it there)"


async def record(folder: Path, pids: Mapping[str, int], *, seconds: int = SECONDS) -> list[str]:
    """Write `<name>.svg` of each Python process into `folder`; return what went wrong.

    It costs the processes a few percent, so the figures of this run are a little worse.
    """
    assert not missing(), missing()
    os.makedirs(folder, exist_ok=True)
    watched = {name: pid for name, pid in pids.items() if name not in _NOT_PYTHON}
    watched["load"] = os.getpid()
    told = await asyncio.gather(
        *(_one(folder / f"{name}.svg", pid, seconds) for name, pid in watched.items())
    )
    return [f"{name}: {problem}" for name, problem in zip(watched, told, strict=True) if problem]


async def _one(file: Path, pid: int, seconds: int) -> str:
    """Record one process; return why that failed, empty when it did not.

    By its name, not its path: the picture shows how it was called.
    """
    process = await asyncio.create_subprocess_exec(
        *(_SPY, "record", "--pid", str(pid), "--duration", str(seconds), "--rate", str(RATE)),
        *("--format", "flamegraph", "--output", str(file)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    lines = said.decode(errors="replace").strip().splitlines() or ["it said nothing"]
    return lines[-1] if process.returncode else ""
