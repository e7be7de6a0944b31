"""A closed day becomes files: pieces of rows come in, whole files come out, and are read back.

All of it blocks: call it with `asyncio.to_thread`. Little of a day is in memory at any time.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from ledger.history.files import COLUMNS, file_of, opened, place, sha256_of
from mesh.embedded.places import private_dir

# A day is read in order of `seq`; its vouchers are looked up by their trace.
_ORDERS = {"transfer": "seq", "voucher": "trace_no, seq"}
_SCRATCH = ".writing-"
# Rows of which a file keeps the least and the greatest values. A trace is looked for in the
# vouchers of every day, so of them it is few: one group is read.
_GROUPS = {"transfer": 122_880, "voucher": 8_192}


class NotWritten(Exception):
    """A day is not in files, and stays in the database alone. Says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A file of a day: its rows, its size, its digest (hex)."""

    rows: int
    bytes: int
    sha256: str


@dataclass(slots=True, kw_only=True)
class _Table:
    """The pieces of a table so far: parts on the disk, how many rows, what comes to their sum."""

    parts: list[str] = field(default_factory=list)
    rows: int = 0
    check: int = 0


class Draft:
    """A day on its way: `add` every piece of both tables, in order, then `finish` both."""

    def __init__(self, folder: Path, scratch: Path, *, book_id: int, acct_date: date) -> None:
        self._folder, self._book_id, self._acct_date = folder, book_id, acct_date
        self._scratch = scratch
        self._tables = {table: _Table() for table in COLUMNS}

    def add(self, table: str, *, lines: str, rows: int, check: int) -> None:
        """Add rows, a line of JSON each. `check` is the sum of what the database says of each:
        60 bits of the MD5 of its text. Raises NotWritten, OSError.
        """
        so_far = self._tables[table]
        so_far.rows += rows
        so_far.check += check
        if not rows and so_far.parts:
            return
        raw = self._scratch / "piece.json"
        part = self._scratch / f"{table}-{len(so_far.parts)}.parquet"
        raw.write_text(lines)
        with opened(self._scratch) as connection:
            columns = ", ".join(f"{name}: '{kind}'" for name, kind in COLUMNS[table].items())
            source = f"read_json('{_quoted(raw)}', format='nd', columns={{{columns}}})"
            _copy(connection, table, source, part, order="")
        so_far.parts.append(f"'{_quoted(part)}'")

    def finish(self, table: str) -> Written:
        """Put the file in its place and read it back; return what it is.

        A file that a crash left there goes. Raises NotWritten, OSError, StartError.
        """
        whole = self._scratch / f"{table}.parquet"
        path = file_of(self._folder, book_id=self._book_id, acct_date=self._acct_date, table=table)
        so_far = self._tables[table]
        with opened(self._scratch) as connection:
            source = f"read_parquet([{', '.join(so_far.parts)}])"
            # Transfers came in their order, and it is kept.
            order = _ORDERS[table] if table == "voucher" else ""
            _copy(connection, table, source, whole, order=order)
        place(whole, path)
        _prove(path, table, so_far)
        return Written(rows=so_far.rows, bytes=path.stat().st_size, sha256=sha256_of(path))


@contextmanager
def drafting(folder: Path, *, book_id: int, acct_date: date) -> Iterator[Draft | None]:
    """Yield a draft of a day, None while another process writes one. What a crash left goes.

    Each draft has a directory of its own: the thread of a process that leaves may still write.
    """
    descriptor = os.open(private_dir(folder), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        for left in folder.glob(f"{_SCRATCH}*"):
            shutil.rmtree(left, ignore_errors=True)
        with TemporaryDirectory(prefix=_SCRATCH, dir=folder, ignore_cleanup_errors=True) as own:
            yield Draft(folder, Path(own), book_id=book_id, acct_date=acct_date)
    finally:
        os.close(descriptor)


def _said(table: str) -> str:
    """Return the expression for a row as text, as the database says it (store/history.py)."""
    said = [
        f"epoch_us({name})" if kind == "TIMESTAMPTZ" else f"coalesce({name}::VARCHAR, '')"
        for name, kind in COLUMNS[table].items()
    ]
    return f"concat_ws(chr(31), {', '.join(said)})"


def _prove(path: Path, table: str, added: _Table) -> None:
    """Raise NotWritten unless the file has the rows that were added, each behind the last."""
    keys = _ORDERS[table].split(", ")
    last = ", ".join(f"lag({key}) OVER () AS last_{key}" for key in keys)
    behind = f"({', '.join(keys)}) > ({', '.join(f'last_{key}' for key in keys)})"
    sql = f"""
        SELECT count(*), coalesce(sum(said), 0),
               count(*) FILTER (last_seq IS NOT NULL AND NOT {behind})
        FROM (SELECT {", ".join(keys)}, {last},
                     ('0x' || left(md5({_said(table)}), 15))::UBIGINT AS said
              FROM read_parquet('{_quoted(path)}'))
    """
    with opened() as connection:
        found = _run(connection, sql)
    if found != [(added.rows, added.check, 0)]:
        raise NotWritten(f"{path}: what is read back is not what the database gave")


def _copy(
    connection: duckdb.DuckDBPyConnection, table: str, source: str, path: Path, *, order: str
) -> None:
    rows = f"SELECT {', '.join(COLUMNS[table])} FROM {source}"
    if order:
        rows += f" ORDER BY {order}"
    form = f"FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {_GROUPS[table]}"
    _run(connection, f"COPY ({rows}) TO '{_quoted(path)}' ({form})")


def _run(connection: duckdb.DuckDBPyConnection, sql: str) -> list[tuple[object, ...]]:
    try:
        return connection.execute(sql).fetchall()
    except duckdb.Error as error:
        raise NotWritten(str(error)) from error


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
