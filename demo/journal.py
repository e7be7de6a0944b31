"""A file of lines that survive a crash of ours. What waits at the same moment shares one sync."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path


class Journal:
    """An append-only file. A torn last line, of which nobody was told, is cut off at opening."""

    def __init__(self, path: Path) -> None:
        """Open or make the file, readable by us only."""
        self.path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        whole = path.read_bytes().rfind(b"\n") + 1
        os.ftruncate(self._file, whole)
        self._thread = ThreadPoolExecutor(1, path.stem)
        self._lines: list[str] = []
        self._next: asyncio.Future[None] | None = None
        self._writer: asyncio.Task[None] | None = None

    async def append(self, line: str) -> None:
        """Return when `line` is on disk. Raises OSError when the disk refuses."""
        self._lines.append(line)
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
        done = self._next
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_all())
        await asyncio.shield(done)

    def lines(self) -> list[str]:
        """Return all lines as the file has them, each with its end."""
        with self.path.open(newline="\n") as file:
            return file.readlines()

    def close(self) -> None:
        """Finish what is being written and let go of the file."""
        self._thread.shutdown()
        os.close(self._file)

    async def _write_all(self) -> None:
        loop = asyncio.get_running_loop()
        while self._lines:
            data = "".join(f"{line}\n" for line in self._lines).encode()
            assert self._next is not None, "lines wait for it"
            done, self._next, self._lines = self._next, None, []
            try:
                await loop.run_in_executor(self._thread, self._write, data)
            except OSError as error:
                done.set_exception(error)
            else:
                done.set_result(None)
        self._writer = None

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._file, view) :]
        os.fdatasync(self._file)
