"""A program is started: it becomes healthy, or somebody is told why it did not."""

from __future__ import annotations

import asyncio
from pathlib import Path

from mesh.embedded.places import StartError
from mesh.embedded.process import Process
from mesh.supervisor.children import Program

START_S = 60.0
POLL_S = 0.05


async def try_out(new: Program, home: Path) -> None:
    """Start `new` beside what runs; return when it is healthy and has its place.

    Raises StartError, with `new` ended and everything as it was.
    """
    name = new.child.name
    try:
        await new.start()
        async with asyncio.timeout(START_S):
            while not await new.healthy():
                if new.process is not None and new.process.returncode is not None:
                    raise not_started(name, "the new one ended", new.process, home)
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        await new.stop()
        why = f"the new one is not ready after {START_S:.0f} s"
        raise not_started(name, why, new.process, home) from None
    except BaseException:
        await new.stop()
        raise


def not_started(name: str, why: str, process: Process | None, home: Path) -> StartError:
    """Return the error of a program that did not start, with its last words."""
    lines = process.said().strip().splitlines() if process else []
    last = f"; its last words: {lines[-1]}" if lines else ""
    return StartError(
        f"{name} did not start", why=why + last, next_step=f"Read {home}/logs/{name}.log"
    )
