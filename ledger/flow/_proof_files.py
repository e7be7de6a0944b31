"""Proving days that are in files: whether they are the files that were written, and their rows."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import duckdb

from ledger.desk import Desk
from ledger.history.files import HistoryError, sha256_of
from ledger.history.read import FiledDay
from ledger.model import Finding
from ledger.store import filed, proof

CHECK = "HISTORY"
_RESTORE = "Restore the file from its copy"


class Files:
    """The files of one book, a day at a time, in order."""

    def __init__(self, desk: Desk, book_id: int) -> None:
        self._desk, self._book_id = desk, book_id
        self._day: FiledDay | None = None  # With the digests that its files have now.
        self._is_whole = True
        self._is_told = False  # That the files of this day are not the ones that were written.
        self.lost = False  # Whether entries of any day could not be read.

    async def read(self, run: proof.Run) -> tuple[proof.Filed | None, list[Finding]]:
        """Return the rows of a run, None when they cannot be read; and what is wrong.

        Files that are not the ones that were written are told of once, and read all the same:
        which block they were changed in is said by its hash.
        """
        if run.acct_date is None:
            place = f"blocks {run.first} to {run.last} of book {self._book_id}"
            self.lost = True
            detail = "the book says that they are in files; it does not say in which"
            return None, [Finding(check=CHECK, place=place, detail=detail)]
        findings: list[Finding] = []
        if self._day is None or self._day.acct_date != run.acct_date:
            day = await filed.day_of(self._desk.db, book_id=self._book_id, acct_date=run.acct_date)
            self._day, findings = await self._seen(day)
            self._is_told = bool(findings)
        if not self._is_whole:
            return None, findings
        try:
            entries, vouchers = await self._desk.history.blocks(
                self._day, first_block=run.first, last_block=run.last
            )
        except (HistoryError, duckdb.Error) as error:
            self._is_whole, self.lost = False, True
            # One harm is told of once: what was changed may well be unreadable.
            if isinstance(error, HistoryError) or not self._is_told:
                place = f"files of {run.acct_date} of book {self._book_id}"
                findings.append(Finding(check=CHECK, place=place, detail=_unreadable(error)))
            return None, findings
        return proof.Filed(entries=entries, vouchers=vouchers), findings

    async def _seen(self, day: FiledDay) -> tuple[FiledDay, list[Finding]]:
        """Return a day with the digests that its files have, and which are not what they were."""
        findings = []
        self._is_whole = True
        for table in ("transfer", "voucher"):
            path, said = self._desk.history.file(day, table), getattr(day, f"{table}_sha256")
            try:
                found = await asyncio.to_thread(sha256_of, path)
            except HistoryError as error:
                self._is_whole, self.lost = False, True
                detail = f"{error.why}. {_RESTORE}; until then balances are not proved"
                findings.append(Finding(check=CHECK, place=str(path), detail=detail))
                continue
            if found != said:
                detail = f"its SHA-256 is {found}, the book says {said}. {_RESTORE}"
                findings.append(Finding(check=CHECK, place=str(path), detail=detail))
            if table == "transfer":
                day = replace(day, transfer_sha256=found)
            else:
                day = replace(day, voucher_sha256=found)
        return day, findings


def _unreadable(error: HistoryError | duckdb.Error) -> str:
    """Return in one line why a file cannot be read; the library's own text has many."""
    why = error.why if isinstance(error, HistoryError) else str(error).partition("\n")[0]
    return f"{why.rstrip('.')}. {_RESTORE}; until then balances are not proved"
