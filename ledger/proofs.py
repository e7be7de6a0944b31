"""Proofs that are not at their end 未完成的核对: what they know so far, in files of the home.

A file is named by the digest of what is in it, and a caller goes on from a name that it was told.
So a proof goes on from what it wrote down and from nothing else, whoever can write to the home.

Nothing here speaks with the database. All of it blocks: call it with `asyncio.to_thread`.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from mesh.clock import real_epoch
from mesh.embedded.places import private_dir

Frame = tuple[str, bytes]  # What it is of, and some of it.

_KEEP_SECONDS = 86_400  # Nobody came back for it in this time, so nobody will.


class ProofGone(Exception):
    """There is no file of that name, or what is in it is not what was written."""


def folder_of(home: Path) -> Path:
    """Return where unfinished proofs are kept in a home."""
    return home / "ledger" / "proofs"


def keep(folder: Path, frames: Iterable[Frame]) -> str:
    """Write `frames` to a file of their own and return its name, the digest (hex) of the file.

    After a loss of power the file may be gone or half: then it is not what its name says, and the
    proof begins anew. Raises OSError, StartError.
    """
    private_dir(folder)
    digest = hashlib.sha256()
    draft = folder / f".{uuid.uuid4().hex}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(draft, flags, 0o600), "wb") as file:
            for kind, some in frames:
                for piece in (f"{kind} {len(some)}\n".encode(), some):
                    digest.update(piece)
                    file.write(piece)
        draft.replace(folder / digest.hexdigest())
    finally:
        draft.unlink(missing_ok=True)
    return digest.hexdigest()


def read(folder: Path, name: str) -> Iterator[Frame]:
    """Yield the frames of a file, once all of it was found to be what was written.

    Raises ProofGone before the first.
    """
    try:
        data = (folder / name).read_bytes()
    except OSError:
        raise ProofGone(name) from None
    if hashlib.sha256(data).hexdigest() != name:
        raise ProofGone(name)
    at = 0
    while at < len(data):
        end = data.index(b"\n", at)
        kind, _, size = data[at:end].decode().partition(" ")
        at = end + 1 + int(size)
        yield kind, data[end + 1 : at]


def drop(folder: Path, name: str) -> None:
    """Remove a file, if it is there."""
    (folder / name).unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove what nobody came back for in a day, as far as it can be. Others may do so as well."""
    with suppress(OSError):
        for path in list(folder.iterdir()):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < real_epoch() - _KEEP_SECONDS:
                    path.unlink()
