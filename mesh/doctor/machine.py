"""The machine: interpreter, packages, directories, disk, ports."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from mesh.clock import monotonic
from mesh.doctor.finding import Finding, Scene, failed, passed, skipped, warned
from mesh.embedded.places import Ports, is_free

PYTHON_MIN = (3, 11)
GIB = 1 << 30
DISK_LEAST, DISK_ENOUGH = 1 * GIB, 5 * GIB
FLUSHES = 20
FLUSH_SLOW_MS, FLUSH_TOO_QUICK_MS = 20.0, 0.02
_PIN = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;\\]+)\s*(;[^\\]*)?")


async def python(_: Scene) -> Sequence[Finding]:
    """The interpreter."""
    seen = f"{platform.python_version()} at {sys.executable}"
    if sys.version_info[:2] < PYTHON_MIN:
        return (failed("python", seen, "Install Python 3.11 or newer and run `make run`"),)
    return (passed("python", seen),)


async def packages(_: Scene) -> Sequence[Finding]:
    """Whether what is installed is what was locked, or at least what we ask for."""
    pins = _pins()
    wrong = []
    for name, version in pins.items():
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found = "missing"
        if found != version:
            wrong.append(f"{name} {found}, locked {version}")
    if wrong:
        step = "Run `make run`, which installs what is locked"
        return (failed("packages", "; ".join(wrong[:5]), step),)
    return (passed("packages", f"{len(pins)} as locked"),)


def _pins() -> dict[str, str]:
    """Return name and version of what must be installed: by the lock, or by our own pins."""
    lock = Path(__file__).parents[2] / "requirements" / "run.txt"
    if lock.is_file():
        lines = lock.read_text().splitlines()
    else:
        lines = importlib.metadata.requires("tongbao") or []
    found = (_PIN.match(line) for line in lines)
    # What is for some machines only may rightly be missing on this one.
    return {match[1]: match[2] for match in found if match and not match[3]}


async def directories(scene: Scene) -> Sequence[Finding]:
    """Whether home is ours and its closed rooms are closed."""
    home = scene.settings.home
    if not home.is_dir():
        return (skipped("directories", f"{home} does not exist yet"),)
    if not os.access(home, os.W_OK | os.X_OK):
        step = "Change its owner, or name another home by --home"
        return (failed("directories", f"{home} cannot be written by us", step),)
    open_rooms = [
        str(room)
        for room in (home / name for name in ("run", "logs", "traces", "keys", "secrets"))
        if room.is_dir() and stat.S_IMODE(room.stat().st_mode) & 0o077
    ]
    if open_rooms:
        step = f"chmod 700 {' '.join(open_rooms)}"
        return (failed("directories", f"others may enter {', '.join(open_rooms)}", step),)
    return (passed("directories", f"{home} is ours, its rooms are closed"),)


async def disk(scene: Scene) -> Sequence[Finding]:
    """How much room is left where data grow."""
    places = {scene.settings.home, (scene.settings.home / "postgres").resolve()}
    found = []
    for place in sorted(one for one in places if one.exists()) or [Path.cwd()]:
        usage = shutil.disk_usage(place)
        seen = f"{usage.free / GIB:.1f} of {usage.total / GIB:.1f} GiB free at {place}"
        step = "Free some space: a full disk stops PostgreSQL and NATS"
        if usage.free < DISK_LEAST:
            found.append(failed("disk", seen, step))
        elif usage.free < DISK_ENOUGH:
            found.append(warned("disk", seen, step))
        else:
            found.append(passed("disk", seen))
    return found


async def flushes(scene: Scene) -> Sequence[Finding]:
    """How long the disk takes to keep something: each commit waits for it."""
    home = scene.settings.home
    if not home.is_dir():
        return (skipped("fsync", f"{home} does not exist yet"),)
    took = median(_flush(home / f".doctor.{os.getpid()}"))
    seen = f"{took:.2f} ms a flush, the median of {FLUSHES}"
    if took > FLUSH_SLOW_MS:
        step = "Put home on a quicker disk: every batch waits for one flush"
        return (warned("fsync", seen, step),)
    if took < FLUSH_TOO_QUICK_MS:
        step = "Make sure that this disk keeps what it says it keeps (no tmpfs, no eatmydata)"
        return (warned("fsync", f"{seen}: too quick to be true", step),)
    return (passed("fsync", seen),)


def _flush(path: Path) -> list[float]:
    times = []
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        for _ in range(FLUSHES):
            os.write(descriptor, b"\0" * 4096)
            began = monotonic()
            os.fsync(descriptor)
            times.append((monotonic() - began) * 1000)
    finally:
        os.close(descriptor)
        path.unlink()
    return times


async def ports(scene: Scene) -> Sequence[Finding]:
    """Whether the ports we were told to use can be had."""
    settings = scene.settings
    wanted = {
        "postgres": settings.postgres_port,
        "nats": settings.nats_port,
        "http": settings.http_port,
        "edge": settings.edge_port,
        **settings.public_ports,
    }
    fixed = {name: port for name, port in wanted.items() if port}
    if scene.runs:
        return (passed("ports", f"{len(scene.state['ports']) if scene.state else 0} in use by us"),)
    taken = [f"{name} {port}" for name, port in fixed.items() if not is_free(port)]
    if taken:
        step = "Stop what listens there, or choose others (`tongbao config explain public_ports`)"
        return (failed("ports", f"taken by others: {', '.join(taken)}", step),)
    moved = [
        f"{name} {port}" for name, port in Ports(settings.home).kept().items() if not is_free(port)
    ]
    if moved:
        step = "Nothing, unless callers know them: then set them, or stop what listens there"
        return (warned("ports", f"will change, taken by others: {', '.join(moved)}", step),)
    return (passed("ports", "free"),)
