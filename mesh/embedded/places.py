"""Directories, secrets and ports of the embedded servers, and why one cannot start."""

from __future__ import annotations

import errno
import json
import os
import random
import secrets
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Below the range from which the kernel gives ports to clients: one of those could take ours
# while the server restarts.
_PORTS = range(20_000, 32_000)
_PORT_TRIES = 200
# Who has a setting for its port alone; the others are services, in TONGBAO_PUBLIC_PORTS.
_OWN_SETTING = frozenset({"postgres", "nats", "http", "metrics"})


class StartError(Exception):
    """A server cannot start. Says what, why, and what to do next."""

    def __init__(self, what: str, *, why: str, next_step: str) -> None:
        super().__init__(f"{what}: {why}. {next_step}.")
        self.what, self.why, self.next_step = what, why, next_step


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn an OSError of the block into a StartError that `what` failed."""
    try:
        yield
    except OSError as error:
        raise _start_error(what, error) from error


def _start_error(what: str, error: OSError) -> StartError:
    place = error.filename or "the directory"
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            why, step = f"the disk of {place} is full", "Free some space and start again"
        case errno.EACCES | errno.EPERM | errno.EROFS:
            why = f"{place} cannot be written by user {os.geteuid()}"
            step = "Change its owner, or name another home by --home or TONGBAO_HOME"
        case errno.ENOTDIR | errno.EEXIST:
            why = f"{place} is in the way and not a directory"
            step = "Move it, or name another home by --home or TONGBAO_HOME"
        case errno.EADDRINUSE:
            why, step = str(error), "Stop the other program, or choose another port"
        case _:
            why, step = str(error), "Look at the path named and start again"
    return StartError(what, why=why, next_step=step)


def make_home(home: Path) -> Path:
    """Make the home directory and its rooms; return its absolute path.

    Others may walk through home, because PostgreSQL runs as another user when we are root,
    but not read it; every room with secrets is closed. Raises StartError.
    """
    home = home.absolute()
    with explained(f"cannot prepare {home}"):
        if not home.is_dir():
            home.mkdir(parents=True)
            home.chmod(0o711)
        for room in ("run", "logs", "traces", "keys", "secrets"):
            private_dir(home / room)
    return home


def private_dir(path: Path, *, user: int | None = None) -> Path:
    """Make `path` a directory that only `user` (default: we) can enter, and return it.

    Raises StartError if it belongs to somebody else: in /tmp anyone could have made it.
    """
    owner = os.geteuid() if user is None else user
    with explained(f"cannot make {path}"):
        try:
            path.mkdir(mode=0o700, parents=True)
        except FileExistsError:
            found = path.lstat()
            if not stat.S_ISDIR(found.st_mode):
                raise NotADirectoryError(errno.ENOTDIR, "not a directory", str(path)) from None
            if found.st_uid not in (owner, os.geteuid()):
                raise StartError(
                    f"cannot use {path}",
                    why=f"it belongs to user {found.st_uid}, not to {owner}",
                    next_step="Remove it, or name another directory by TONGBAO_SOCKET_DIR",
                ) from None
        if owner != os.geteuid():
            os.chown(path, owner, owner)
        path.chmod(0o700)
    return path


def secret(path: Path) -> str:
    """Return the password kept in `path`; a new random one, 0600, if there is none."""
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        value = secrets.token_urlsafe(24)
        write_private(path, value + "\n")
        return value


def write_private(path: Path, text: str) -> None:
    """Write `path`, readable by us only; whoever reads meanwhile sees the old or the new."""
    with explained(f"cannot write {path}"):
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)


class Ports:
    """Free ports on 127.0.0.1, remembered by name in `<home>/run/ports.json`."""

    def __init__(self, home: Path) -> None:
        self._file = home / "run" / "ports.json"
        self._given: set[int] = set()

    def kept(self) -> dict[str, int]:
        """Return the ports remembered, by name."""
        found: dict[str, int] = json.loads(self._file.read_text()) if self._file.exists() else {}
        return found

    def port(self, name: str, *, wanted: int = 0) -> int:
        """Return the port for `name`: `wanted`, or the one remembered, or a free one.

        Raises StartError if `wanted` is taken. A remembered port that somebody else took
        is replaced: nobody was promised it.
        """
        if wanted:
            if wanted in self._given or not is_free(wanted):
                raise port_in_use(name, wanted)
            self._given.add(wanted)  # Ports are shared on purpose: two of ours would not notice.
            return wanted
        kept = self.kept()
        remembered = kept.get(name)
        if remembered is not None and is_free(remembered):
            return remembered
        chosen = _free_port(avoid=set(kept.values()))
        write_private(self._file, json.dumps(kept | {name: chosen}, indent=1) + "\n")
        return chosen


def port_in_use(name: str, port: int) -> StartError:
    """Return the error of a server whose port another program listens on."""
    own = name in _OWN_SETTING
    setting = f"TONGBAO_{name.upper()}_PORT" if own else f"{name} in TONGBAO_PUBLIC_PORTS"
    return StartError(
        f"{name} cannot listen on 127.0.0.1:{port}",
        why="another program uses the port",
        next_step=f"Stop that program, or set {setting} to a free port or 0",
    )


def is_free(port: int) -> bool:
    """Return whether a server could listen on 127.0.0.1:`port` now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _free_port(*, avoid: set[int]) -> int:
    draw = random.SystemRandom()
    for _ in range(_PORT_TRIES):
        port = draw.choice(_PORTS)
        if port not in avoid and is_free(port):
            return port
    raise StartError(
        "no free port on 127.0.0.1",
        why=f"{_PORT_TRIES} ports between {_PORTS.start} and {_PORTS.stop} are taken",
        next_step="Set the ports in tongbao.toml",
    )
