"""Checkpoints 检查点: signed lines outside of the database that say how far a book was.

The chain of blocks proves itself, so whoever writes it anew, or cuts it short and mends the
balances, leaves a book that is true in itself. A checkpoint remembers number and hash of a head.
It is a line of JSON; it names the digest of the line before it and is signed by the ledger's key.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ledger.model import Finding
from mesh.embedded.places import private_dir

CHECK = "CHECKPOINTS"
FIRST = "0" * 64  # What the first line has in place of a digest.
_PURPOSE = b"tongbao.ledger.checkpoint.v1\n"  # So that no other signature of the key fits.
_FILE = re.compile(r"checkpoints-([0-9]{1,10})\.ndjson")
_TAIL_BYTES = 4096  # More than a line.
_KINDS = {
    "book_id": int,
    "block_no": int,
    "hash": str,
    "acct_date": str,
    "time": str,
    "previous": str,
    "signature": str,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """How far a book was at a time: number and hash (hex) of its last block."""

    book_id: int
    block_no: int
    hash: str
    acct_date: str
    time: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Notary:
    """Where the checkpoints of a ledger are kept, and the key that signs them."""

    folder: Path
    key: Ed25519PrivateKey


def folder_of(home: Path) -> Path:
    """Return where checkpoints are kept in a home."""
    return home / "ledger"


def files_in(folder: Path) -> dict[int, Path]:
    """Return the files of checkpoints in a directory, by book."""
    found = {path: _FILE.fullmatch(path.name) for path in sorted(folder.glob("*.ndjson"))}
    return {int(match[1]): path for path, match in found.items() if match}


def line_of(head: Head, *, previous: str, key: Ed25519PrivateKey) -> str:
    """Return the signed line for `head`, without its end; `previous` is a digest."""
    said = asdict(head) | {"previous": previous}
    signature = base64.b64encode(key.sign(_signed(said))).decode()
    return _text(said | {"signature": signature})


def digest_of(line: str) -> str:
    """Return what the next line says of this one."""
    return hashlib.sha256(line.encode()).hexdigest()


def read(text: str, *, book_id: int, key: Ed25519PublicKey) -> tuple[list[Head], list[Finding]]:
    """Return the checkpoints of a file that can be trusted, and what is wrong with the others."""
    heads: list[Head] = []
    findings: list[Finding] = []
    previous, last = FIRST, 0
    for number, line in enumerate(text.splitlines(), start=1):
        problem, head = _checked(line, key=key, previous=previous)
        if head is not None and head.book_id != book_id:
            problem, head = f"it is of book {head.book_id}", None
        if head is not None and head.block_no <= last:
            problem = f"block {head.block_no} follows block {last}"
        if problem:
            place = f"line {number} of the checkpoints of book {book_id}"
            findings.append(Finding(check=CHECK, place=place, detail=problem))
        if head is not None:
            heads.append(head)
            last = head.block_no
        previous = digest_of(line)
    return heads, findings


def last_of(notary: Notary, book_id: int) -> Head | None:
    """Return the last checkpoint of a book; None when there is none.

    Raises ValueError when the last line is not one that the key signed, StartError when the
    directory cannot be ours, OSError.
    """
    with _locked(notary, book_id) as file:
        _, head = _last(file, notary)
    return head


def append(notary: Notary, head: Head) -> Head | None:
    """Append `head` unless the file is as far already; return what its last line was before.

    It is on the disk when this returns. Several may do this at once: nothing is written twice,
    and nothing behind what is written. Raises as `last_of`.
    """
    with _locked(notary, head.book_id) as file:
        line, last = _last(file, notary)
        if last is None or last.block_no < head.block_no:
            previous = digest_of(line) if line else FIRST
            text = line_of(head, previous=previous, key=notary.key) + "\n"
            os.write(file, text.encode())
            os.fsync(file)
    return last


@contextmanager
def _locked(notary: Notary, book_id: int) -> Iterator[int]:
    """Open the file of a book for us alone. A line that a crash left half is taken away."""
    folder = private_dir(notary.folder)
    path = folder / f"checkpoints-{book_id}.ndjson"
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    file = os.open(path, flags, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        size = os.fstat(file).st_size
        if size == 0:
            _keep_name(folder)
        tail = os.pread(file, _TAIL_BYTES, max(0, size - _TAIL_BYTES))
        if half := len(tail) - (tail.rfind(b"\n") + 1):
            os.ftruncate(file, size - half)
        yield file
    finally:
        os.close(file)


def _keep_name(folder: Path) -> None:
    """Make sure that a new file is still in its directory after a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _last(file: int, notary: Notary) -> tuple[str, Head | None]:
    size = os.fstat(file).st_size
    lines = os.pread(file, _TAIL_BYTES, max(0, size - _TAIL_BYTES)).decode().splitlines()
    if not lines:
        return "", None
    problem, head = _checked(lines[-1], key=notary.key.public_key(), previous=None)
    if problem:
        raise ValueError(f"the last checkpoint cannot be trusted: {problem}")
    return lines[-1], head


def _checked(line: str, *, key: Ed25519PublicKey, previous: str | None) -> tuple[str, Head | None]:
    """Return what is wrong with a line, and what it says if the key signed it."""
    try:
        said = json.loads(line)
    except ValueError:
        said = None
    if not isinstance(said, dict) or {name: type(it) for name, it in said.items()} != _KINDS:
        return "it is not a checkpoint", None
    signature = said.pop("signature")
    try:
        key.verify(base64.b64decode(signature, validate=True), _signed(said))
    except (InvalidSignature, ValueError):
        return "the ledger's key did not sign it", None
    named = said.pop("previous")
    problem = ""
    if previous is not None and named != previous:
        problem = "the line before it is not the one that was there"
    return problem, Head(**said)


def _signed(said: dict[str, object]) -> bytes:
    return _PURPOSE + _text(said).encode()


def _text(said: dict[str, object]) -> str:
    return json.dumps(said, separators=(",", ":"), sort_keys=True)


Hashes = Callable[[Sequence[int]], tuple[int, dict[int, str]]]


def compare(book_id: int, heads: Sequence[Head], hashes: Hashes, *, page: int) -> list[Finding]:
    """Return where a book is not what its checkpoints say: REWRITTEN, CUT_TAIL.

    `hashes` returns how far the book is, and its hashes (hex) of up to `page` blocks.
    """
    heads = sorted(heads, key=lambda head: head.block_no)
    good = 0
    for start in range(0, len(heads), page):
        part = heads[start : start + page]
        end, found = hashes([head.block_no for head in part])
        for head in part:
            if head.block_no > end:
                return [_cut(book_id, heads[-1], end)]
            if found.get(head.block_no) != head.hash:
                findings = [_rewritten(book_id, good, head, found.get(head.block_no))]
                last = heads[-1]
                return findings if last.block_no <= end else [*findings, _cut(book_id, last, end)]
            good = head.block_no
    return []


def _cut(book_id: int, last: Head, end: int) -> Finding:
    place = f"blocks {end + 1} to {last.block_no} of book {book_id}"
    detail = f"the book ends at block {end}; at {last.time} block {last.block_no} was there"
    return Finding(check="CUT_TAIL", place=place, detail=detail)


def _rewritten(book_id: int, good: int, head: Head, found: str | None) -> Finding:
    has = f"has hash {found[:16]}…" if found else "is not there"
    place = f"blocks {good + 1} to {head.block_no} of book {book_id}"
    detail = f"block {head.block_no} {has}; at {head.time} it had {head.hash[:16]}…"
    return Finding(check="REWRITTEN", place=place, detail=detail)
