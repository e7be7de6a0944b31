"""Reading what is in the files of closed days: entries of an account, blocks, traces, ids.

Only files of the days that are asked for are opened, and only to be read. Which days those can
be is said by the table `history_day`, never by what lies in the folder.
"""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import duckdb

from ledger.history.files import TABLES, TRANSFER, VOUCHER, HistoryError, check, file_of, library
from mesh.clock import EPOCH

PLACES = 8192  # Of a block, as in `seq`.

_THREADS = 4  # Reading at once: each takes a processor.


@dataclass(frozen=True, slots=True, kw_only=True)
class FiledDay:
    """A closed day that is in files: the blocks it has, and the digests (hex) of its files."""

    book_id: int
    acct_date: date
    first_block: int
    last_block: int
    transfer_sha256: str
    voucher_sha256: str


class FiledEntry(NamedTuple):
    """A row of the table `transfer`, its columns in the order of `files.TRANSFER`."""

    seq: int
    debit_id: int
    credit_id: int
    amount: int
    debit_after: int
    credit_after: int
    debit_prev: int
    credit_prev: int
    id: UUID
    txn: UUID | None
    ref: UUID | None
    book_id: int
    code: int
    flags: int

    @property
    def block_no(self) -> int:
        """Return the number of its block."""
        return self.seq // PLACES


class FiledVoucher(NamedTuple):
    """A row of the table `voucher`, its columns in the order of `files.VOUCHER`."""

    seq: int
    amount_minor: int
    txn: UUID
    book_id: int
    transfers: int
    currency_code: str
    template: str
    source_no: str
    trace_no: str
    app_id: str
    create_time: datetime


class History:
    """The closed days that left the database. Everything it raises of its own is HistoryError:
    a file of a day that was asked for is not there, or is not the one that was written.

    It reads in few threads of its own: what nobody waits for any more holds up nobody else.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # By file: its stat when its digest was right. A file that looks the same still is.
        self._whole: dict[Path, tuple[int, int, int, str]] = {}
        self._lock = threading.Lock()  # Of the library and of `_locks`.
        self._locks: defaultdict[Path, threading.Lock] = defaultdict(threading.Lock)
        self._library: duckdb.DuckDBPyConnection | None = None
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="history")

    async def close(self) -> None:
        """End the threads and the library, when what they read at the moment is read."""
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)
        if self._library is not None:
            self._library.close()
            # Not only closed: a library that still exists when Python ends is told of as a leak
            # in dozens of lines, and something may still hold the desk then.
            self._library = None

    async def entries(
        self,
        *,
        account_id: int,
        days: Sequence[FiledDay],
        after_seq: int,
        upto_seq: int,
        oldest_first: bool,
        limit: int,
        hidden_flags: int,
    ) -> list[FiledEntry]:
        """Return up to `limit` entries of an account behind place `after_seq` and up to
        `upto_seq`, in order or the newest first, without those that have a flag of
        `hidden_flags`. The days are of one book.
        """
        wanted = [one for one in days if _begin(one) <= upto_seq and _end(one) > after_seq]
        params = {
            "account_id": account_id,
            "after": after_seq,
            "upto": upto_seq,
            "hidden": hidden_flags,
            "most": limit,
        }
        find = _FIND.format(order="ASC" if oldest_first else "DESC")
        found = await self._rows(find, wanted, "transfer", params)
        rows = await self._by_seq([seq for (seq,) in found], wanted)
        return rows if oldest_first else rows[::-1]

    async def blocks(self, day: FiledDay, *, first_block: int, last_block: int) -> tuple[str, str]:
        """Return the entries of a run of blocks of one day, and their vouchers: arrays of JSON.

        A proof reads everything there is: nothing of it becomes an object on the way to SQL.
        """
        params = {"first": first_block * PLACES, "last": last_block * PLACES + PLACES - 1}
        [[entries]] = await self._rows(_JSON, [day], "transfer", params)
        [[vouchers]] = await self._rows(_JSON, [day], "voucher", params)
        return entries, vouchers

    async def vouchers(
        self, *, days: Sequence[FiledDay], txns: Sequence[UUID]
    ) -> list[FiledVoucher]:
        """Return those of the vouchers that are in the files of these days, in no order."""
        if not txns:
            return []
        rows = await self._rows(f"{_VOUCHERS} {_OF_TXNS}", days, "voucher", {"txns": list(txns)})
        return list(map(_voucher, rows))

    async def trace(
        self, *, days: Sequence[FiledDay], app_id: str, trace_no: str
    ) -> list[tuple[FiledVoucher, list[FiledEntry]]]:
        """Return the vouchers of an app's trace with their entries, by book and place."""
        params = {"app_id": app_id, "trace_no": trace_no}
        rows = await self._rows(f"{_VOUCHERS} {_OF_TRACE}", days, "voucher", params)
        found = [_voucher(row) for row in rows]
        traced = []
        for book_id in sorted({one.book_id for one in found}):
            mine = [one for one in found if one.book_id == book_id]
            seqs = [one.seq + place for one in mine for place in range(one.transfers)]
            of_book = [one for one in days if one.book_id == book_id]
            entries = {one.seq: one for one in await self._by_seq(seqs, of_book)}
            for voucher in sorted(mine):
                span = range(voucher.seq, voucher.seq + voucher.transfers)
                traced.append((voucher, [entries[seq] for seq in span]))
        return traced

    async def find(self, *, days: Sequence[FiledDay], ids: Sequence[UUID]) -> list[FiledEntry]:
        """Return those of the entries that are in the files of these days, in no order."""
        if not ids:
            return []
        rows = await self._rows(f"{_ENTRIES} {_OF_IDS}", days, "transfer", {"ids": list(ids)})
        return list(map(FiledEntry._make, rows))

    async def check(self, days: Sequence[FiledDay]) -> None:
        """Read the files of these days once more, however they look: are they as written?"""
        loop = asyncio.get_running_loop()
        for day in days:
            for table in TABLES:
                path = self.file(day, table)
                self._whole.pop(path, None)
                await loop.run_in_executor(self._threads, self._check, path, _sha256(day, table))

    async def _by_seq(self, seqs: Sequence[int], days: Sequence[FiledDay]) -> list[FiledEntry]:
        """Return the entries at these places of one book, in order: all columns, of few rows."""
        if not seqs:
            return []
        having = [one for one in days if any(_begin(one) <= seq <= _end(one) for seq in seqs)]
        params = {"seqs": list(seqs), "first": min(seqs), "last": max(seqs)}
        rows = await self._rows(f"{_ENTRIES} {_OF_SEQS}", having, "transfer", params)
        assert len(rows) == len(set(seqs)), "the files are whole"
        return list(map(FiledEntry._make, rows))

    async def _rows(
        self, sql: str, days: Sequence[FiledDay], table: str, params: Mapping[str, object]
    ) -> list[tuple[Any, ...]]:
        """Return the rows of a statement over the files of a table of these days."""
        if not days:
            return []
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._read, sql, days, table, params)

    def _read(
        self, sql: str, days: Sequence[FiledDay], table: str, params: Mapping[str, object]
    ) -> list[tuple[Any, ...]]:
        files = {self.file(one, table): _sha256(one, table) for one in days}
        for path, sha256 in files.items():
            self._check(path, sha256)
        try:
            with self._connection() as connection:
                asked = {**params, "files": list(map(str, files))}
                return connection.execute(sql, asked).fetchall()
        except duckdb.Error:
            for path, sha256 in files.items():  # Gone or changed in between? Then that is it.
                check(path, sha256=sha256)
            raise

    def file(self, day: FiledDay, table: str) -> Path:
        """Return where a table of a day is, `transfer` or `voucher`."""
        return file_of(self.folder, book_id=day.book_id, acct_date=day.acct_date, table=table)

    def _connection(self) -> duckdb.DuckDBPyConnection:
        """Return a connection of the caller's own. To begin anew would cost ten milliseconds."""
        with self._lock:
            if self._library is None:
                self._library = library()
            return self._library.cursor()

    def _check(self, path: Path, sha256: str) -> None:
        """Raise HistoryError unless the file is the one with this digest.

        To compute the digest takes longer than to read a few rows, so it is done once for as
        long as the file looks the same, and by one caller while the others wait. What looks the
        same and is not is found by the proof.
        """
        with self._lock:
            lock = self._locks[path]
        with lock:
            self._check_alone(path, sha256)

    def _check_alone(self, path: Path, sha256: str) -> None:
        try:
            seen = path.stat()
        except OSError as error:
            raise HistoryError(path, error.strerror or str(error)) from error
        looks = (seen.st_ino, seen.st_size, seen.st_mtime_ns, sha256)
        if self._whole.get(path) != looks:
            check(path, sha256=sha256)
            self._whole[path] = looks


def _begin(day: FiledDay) -> int:
    return day.first_block * PLACES


def _end(day: FiledDay) -> int:
    return day.last_block * PLACES + PLACES - 1


def _sha256(day: FiledDay, table: str) -> str:
    return day.transfer_sha256 if table == "transfer" else day.voucher_sha256


def _voucher(row: tuple[Any, ...]) -> FiledVoucher:
    *columns, microseconds = row
    return FiledVoucher._make((*columns, EPOCH + timedelta(microseconds=microseconds)))


def _columns(columns: Iterable[str]) -> str:
    return ", ".join(f"epoch_us({one})" if one == "create_time" else one for one in columns)


_ENTRIES = f"SELECT {_columns(TRANSFER)} FROM read_parquet($files)"
_VOUCHERS = f"SELECT {_columns(VOUCHER)} FROM read_parquet($files)"

_FIND = """
SELECT seq FROM read_parquet($files)
WHERE (debit_id = $account_id OR credit_id = $account_id) AND seq > $after AND seq <= $upto
  AND flags & $hidden = 0
ORDER BY seq {order} LIMIT $most
"""
_JSON = """
SELECT coalesce(to_json(list(t)), '[]')::VARCHAR FROM read_parquet($files) t
WHERE seq BETWEEN $first AND $last
"""
_OF_SEQS = """
WHERE seq BETWEEN $first AND $last AND seq IN (SELECT unnest($seqs::BIGINT[])) ORDER BY seq
"""
_OF_TXNS = "WHERE txn IN (SELECT unnest($txns::UUID[]))"
_OF_IDS = "WHERE id IN (SELECT unnest($ids::UUID[]))"
_OF_TRACE = "WHERE trace_no = $trace_no AND app_id = $app_id"
