"""What a supervisor leaves in home for others: that it runs, and where everything is."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from mesh.config import SETTINGS_VARIABLE
from mesh.embedded.places import StartError, explained, write_private

LEFTOVER_S = 5.0
_POLL_S = 0.05


class HomeLock:
    """The right to supervise a home. The kernel gives it back when its holder dies."""

    def __init__(self, home: Path) -> None:
        self._file = _lock_file(home)
        self._descriptor: int | None = None

    def take(self) -> None:
        """Take the lock. Raises StartError naming the process that has it."""
        with explained(f"cannot lock {self._file.parent.parent}"):
            descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode().strip()
            os.close(descriptor)
            raise StartError(
                f"{self._file.parent.parent} is in use",
                why=f"another supervisor, pid {holder}, runs in it",
                next_step="Stop it by `tongbao down`, or name another home by --home",
            ) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock back, if we have it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def is_running(home: Path) -> int | None:
    """Return the pid of the supervisor of `home`; None if there is none."""
    try:
        descriptor = os.open(_lock_file(home), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return int(os.read(descriptor, 32) or b"0")
    finally:
        os.close(descriptor)
    return None


def read_state(home: Path) -> dict[str, Any] | None:
    """Return what the running supervisor of `home` says about itself; None if none runs.

    Keys: `pid`, `started`, `healthy`, and by name `pids`, `ports`, `urls`.
    """
    if is_running(home) is None:
        return None
    try:
        state: dict[str, Any] = json.loads(_state_file(home).read_text())
    except FileNotFoundError:  # It runs, and has not come that far.
        return None
    return state


def write_state(home: Path, state: dict[str, Any]) -> None:
    """Write the state as a whole: a reader sees the old one or the new one."""
    write_private(_state_file(home), json.dumps(state, indent=1) + "\n")


def remove_state(home: Path) -> None:
    """Say that nothing runs."""
    _state_file(home).unlink(missing_ok=True)


async def end_leftovers(home: Path, *, grace: float = LEFTOVER_S) -> list[int]:
    """End the children of a supervisor that was killed; return who had to be killed as well.

    The kernel asked them to end when it died. Whoever has the settings of this home and is
    still there after `grace` seconds does not hear. Call with the lock in hand.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(grace):
            while _children_of(home):  # noqa: ASYNC110  # Not our children.
                await asyncio.sleep(_POLL_S)
    late = _children_of(home)
    for pid in late:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return late


def _children_of(home: Path) -> list[int]:
    """Return the pids of the processes that were given a settings file in `home`."""
    mark = f"\0{SETTINGS_VARIABLE}={home}/run/".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*") if sys.platform == "linux" else ():
        with suppress(OSError):  # It ended while we looked, or it is not ours.
            if mark in b"\0" + (entry / "environ").read_bytes():
                found.append(int(entry.name))
    return [pid for pid in found if pid != os.getpid()]


def _lock_file(home: Path) -> Path:
    return home / "run" / "supervisor.lock"


def _state_file(home: Path) -> Path:
    return home / "run" / "state.json"
