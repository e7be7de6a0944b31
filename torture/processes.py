"""Processes: ours, those that we started, and what becomes of orphans.

The harness is a subreaper: whoever loses its parent becomes its child, is waited for and, at
the end, ended. It sends signals to nobody but its own descendants.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True, slots=True)
class Seen:
    """A process as /proc shows it. `state` is one letter, `Z` for one that only waits."""

    pid: int
    parent: int
    name: str
    state: str


def become_subreaper() -> None:
    """From now on orphans among our descendants become our children. Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def me() -> int:
    """Return our own process id."""
    return os.getpid()


def reap(keep: Collection[int]) -> None:
    """Let the dead among our children go, but for those in `keep`, whom others wait for."""
    for one in _children(os.getpid()):
        if one.pid not in keep and one.state == "Z":
            with suppress(ChildProcessError):
                os.waitpid(one.pid, os.WNOHANG)


def end_descendants(keep: Collection[int] = ()) -> list[str]:
    """Kill whoever descends from us and is not in `keep`; return their names."""
    ended = []
    for one in descendants(os.getpid()):
        if one.pid not in keep and one.state != "Z" and send(one.pid, signal.SIGKILL):
            ended.append(f"{one.name} ({one.pid})")
    return ended


def descendants(pid: int) -> list[Seen]:
    """Return everybody below `pid`, the nearest first."""
    everybody = list(_everybody())
    found, parents = list[Seen](), {pid}
    while parents:
        below = [one for one in everybody if one.parent in parents]
        found += below
        parents = {one.pid for one in below}
    return found


def is_descendant(pid: int) -> bool:
    """Return whether `pid` is below us, and so ours to send signals to."""
    return any(one.pid == pid for one in descendants(os.getpid()))


def children(pid: int) -> list[Seen]:
    """Return the living children of `pid`."""
    return [one for one in _children(pid) if one.state != "Z"]


def is_gone(pid: int) -> bool:
    """Return whether `pid` has ended; it may still wait for its parent."""
    return all(one.pid != pid or one.state == "Z" for one in _everybody())


def send(pid: int, number: int) -> bool:
    """Send a signal to a descendant of ours; return whether it was there."""
    if not is_descendant(pid):
        return False
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def _children(pid: int) -> list[Seen]:
    return [one for one in _everybody() if one.parent == pid]


def _everybody() -> Iterator[Seen]:
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):  # It ended while we looked.
            head, _, rest = (entry / "stat").read_text().rpartition(")")
            state, parent = rest.split()[:2]
            yield Seen(int(entry.name), int(parent), head.partition("(")[2], state)
