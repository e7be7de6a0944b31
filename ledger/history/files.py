"""Where the files of a day lie, what is in them, and how they get there and stay whole.

Nothing here speaks with the database. All of it blocks: call it with `asyncio.to_thread`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import duckdb

from mesh.embedded.places import private_dir

# The columns of both tables, as they are in the files. A library that reads TIMESTAMPTZ into
# Python wants a package of time zones: ask for `epoch_us(create_time)`.
TRANSFER: Mapping[str, str] = {
    "seq": "BIGINT",
    "debit_id": "BIGINT",
    "credit_id": "BIGINT",
    "amount": "BIGINT",
    "debit_after": "BIGINT",
    "credit_after": "BIGINT",
    "debit_prev": "BIGINT",
    "credit_prev": "BIGINT",
    "id": "UUID",
    "txn": "UUID",
    "ref": "UUID",
    "book_id": "INTEGER",
    "code": "SMALLINT",
    "flags": "SMALLINT",
}
VOUCHER: Mapping[str, str] = {
    "seq": "BIGINT",
    "amount_minor": "BIGINT",
    "txn": "UUID",
    "book_id": "INTEGER",
    "transfers": "SMALLINT",
    "currency_code": "VARCHAR",
    "template": "VARCHAR",
    "source_no": "VARCHAR",
    "trace_no": "VARCHAR",
    "app_id": "VARCHAR",
    "create_time": "TIMESTAMPTZ",
}
COLUMNS: Mapping[str, Mapping[str, str]] = {"transfer": TRANSFER, "voucher": VOUCHER}
TABLES = tuple(COLUMNS)

_MEMORY = "256MB"
_READ_BYTES = 1 << 20


class HistoryError(Exception):
    """A file of a day is not there, or not the one that was written. Says which, what to do."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path}: {why}. Restore the file from its copy.")
        self.path, self.why = path, why


def folder_of(home: Path) -> Path:
    """Return where the days of all books are kept in a home."""
    return home / "ledger" / "history"


def file_of(folder: Path, *, book_id: int, acct_date: date, table: str) -> Path:
    """Return the file of a table, `transfer` or `voucher`, of one day of one book."""
    return folder / f"book-{book_id}" / acct_date.isoformat() / f"{table}.parquet"


def sha256_of(path: Path) -> str:
    """Return the digest (hex) of a file. Raises HistoryError when it cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while part := file.read(_READ_BYTES):
                digest.update(part)
    except OSError as error:
        raise HistoryError(path, error.strerror or str(error)) from error
    return digest.hexdigest()


def check(path: Path, *, sha256: str) -> None:
    """Raise HistoryError unless the file is there and is the one with this digest (hex)."""
    found = sha256_of(path)
    if found != sha256:
        raise HistoryError(path, f"its SHA-256 is {found[:16]}…, not {sha256[:16]}…")


def library(scratch: Path | None = None) -> duckdb.DuckDBPyConnection:
    """Return a library of our own: one thread, little memory, nothing from the network.

    What does not fit into memory goes to the directory `scratch`; without one it fails.
    """
    connection = duckdb.connect(
        ":memory:",
        config={
            "threads": 1,
            "memory_limit": _MEMORY,
            "temp_directory": str(scratch) if scratch else "",
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "allow_community_extensions": False,
        },
    )
    connection.execute("SET TimeZone = 'UTC'")
    return connection


@contextmanager
def opened(scratch: Path | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a library that is closed afterwards."""
    connection = library(scratch)
    try:
        yield connection
    finally:
        connection.close()


def place(draft: Path, path: Path) -> None:
    """Put the complete file `draft` where `path` says, over what may be left there.

    It is on the disk under its name when this returns; before, nothing is under that name or
    what was. Raises OSError, StartError.
    """
    _sync(draft, os.O_RDONLY)
    for folder in reversed(path.parents[:3]):  # Days of a book in the history, each a name.
        private_dir(folder)
        _sync(folder.parent, os.O_RDONLY | os.O_DIRECTORY)
    draft.replace(path)
    _sync(path.parent, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
