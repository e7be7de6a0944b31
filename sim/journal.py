"""An append-only file of JSON lines. What waits at the same moment shares one fsync."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson

Record = dict[str, Any]


class JournalError(Exception):
    """The file is damaged before its end, or another process holds it."""


class Journal:
    """Records in the order of `append`; `settled` returns when they would survive a crash."""

    def __init__(self, path: Path) -> None:
        """Open or make the file. Raises JournalError when another process has it open."""
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._file)
            raise JournalError(f"{path} is in use by another simulator") from error
        self._path = path
        self._lines: list[bytes] = []
        self._next, self._flying = asyncio.Event(), asyncio.Event()
        self._flying.set()
        self._work = asyncio.Event()

    def replay(self) -> Iterator[Record]:
        """Yield what was written before, oldest first. Call it once, before `append`.

        A torn last line is cut off: nobody was told of it. Raises JournalError for a bad
        line anywhere else.
        """
        kept = 0
        with self._path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    break  # Only the last line can lack its end.
                try:
                    record = orjson.loads(line)
                except orjson.JSONDecodeError as error:
                    raise JournalError(f"{self._path}:{number}: {error}") from error
                kept += len(line)
                yield record
        os.ftruncate(self._file, kept)
        os.lseek(self._file, 0, os.SEEK_END)

    def append(self, record: Record) -> None:
        """Add a record. It is on disk once a later `settled` has returned."""
        self._lines.append(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))
        self._work.set()

    async def settled(self) -> None:
        """Return when everything appended so far is on disk."""
        await (self._next if self._lines else self._flying).wait()

    async def run(self) -> None:
        """Write until cancelled. Raises OSError when the disk refuses: stop then, at once."""
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1, "journal") as thread:
            while True:
                await self._work.wait()
                self._work.clear()
                chunk, self._lines = b"".join(self._lines), []
                self._flying, self._next = self._next, asyncio.Event()
                await loop.run_in_executor(thread, self._write, chunk)
                self._flying.set()

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)

    def _write(self, chunk: bytes) -> None:
        view = memoryview(chunk)
        while view:
            view = view[os.write(self._file, view) :]
        os.fdatasync(self._file)
