"""One child process: started, awaited without a thread, ended."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_LAUNCH = Path(__file__).with_name("launch.py")
LOG_BYTES_MAX = 64 * 1024 * 1024  # A longer log is put aside at the next start.
_SAID_BYTES_MAX = 64 * 1024
BEHIND = 5  # The niceness of what works behind the doors; a third of a processor against one.
_POLL_S = 0.05  # Only where the kernel cannot tell us.


class Process:
    """A child that is running or has left. Every signal goes to this one process.

    Start children from the main thread: the kernel sends the death signal when the thread
    that started them ends.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        log: Path,
        user: int | None = None,
        death_signal: signal.Signals = signal.SIGTERM,
        env: Mapping[str, str] | None = None,
        niceness: int = 0,
    ) -> None:
        """Start `argv`; what it prints is appended to `log`, which only we may read.

        With a `niceness`, of 1 to 19, it lets others go first on the processors.
        """
        launcher = [sys.executable, "-I", "-S", str(_LAUNCH)]
        who = -1 if user is None else user
        head = [*launcher, str(os.getpid()), str(who), str(int(death_signal)), str(niceness)]
        self._log = log
        if log.exists() and log.stat().st_size > LOG_BYTES_MAX:
            log.replace(log.with_suffix(".log.1"))
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._log_from = os.fstat(descriptor).st_size
        try:
            # Its own session: Ctrl-C on our terminal is ours to answer, in our order.
            self._popen = subprocess.Popen(  # noqa: S603  # The arguments are our own.
                [*head, *argv],
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                env=dict(env) if env is not None else None,
                start_new_session=True,
            )
        finally:
            os.close(descriptor)

    @property
    def pid(self) -> int:
        """The process id. It is not reused before the exit was seen here."""
        return self._popen.pid

    @property
    def returncode(self) -> int | None:
        """The exit code, minus the signal if one ended it; None while it runs."""
        return self._popen.poll()

    def said(self) -> str:
        """Return what this process wrote to its log, at most the last 64 KiB."""
        with self._log.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(self._log_from, end - _SAID_BYTES_MAX))
            return file.read().decode(errors="replace")

    def send(self, number: int) -> None:
        """Send a signal; nothing happens if the process has left."""
        self._popen.send_signal(number)

    async def wait(self, *, within: float | None = None) -> int:
        """Return the exit code. Raises TimeoutError after `within` seconds."""
        async with asyncio.timeout(within):
            while (code := self._popen.poll()) is None:
                await _ended(self.pid)
        return code

    async def end(self, number: int = signal.SIGTERM, *, grace: float) -> int:
        """Send `number`, after `grace` seconds SIGKILL, and return the exit code."""
        self.send(number)
        try:
            return await self.wait(within=grace)
        except TimeoutError:
            self.send(signal.SIGKILL)
            return await self.wait()


async def _ended(pid: int) -> None:
    """Return when our child `pid` has ended; it is still to be reaped."""
    if sys.platform != "linux":
        await asyncio.sleep(_POLL_S)
        return
    loop = asyncio.get_running_loop()
    descriptor = os.pidfd_open(pid)
    readable = asyncio.Event()
    loop.add_reader(descriptor, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
