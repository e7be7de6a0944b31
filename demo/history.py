"""The history of everything that was asked, on disk before it is sent."""

from __future__ import annotations

from pathlib import Path

from checker import history
from checker.evidence import Call, Told
from demo.journal import Journal


class History:
    """The calls of all runs in one home."""

    def __init__(self, path: Path) -> None:
        """Open or make the file. Raises history.Damaged."""
        self._journal = Journal(path)
        self._next_seq = max((call.seq for call in self.calls()), default=0) + 1

    def calls(self) -> list[Call]:
        """Return all calls of all runs, in the order in which they were sent."""
        return history.read(self._journal.lines())

    def take_seq(self) -> int:
        """Return the number of the next call."""
        seq, self._next_seq = self._next_seq, self._next_seq + 1
        return seq

    async def sent(self, call: Call) -> None:
        """Return when `call` is on disk: only then it may be sent."""
        await self._journal.append(history.sent_line(call))

    async def answered(self, seq: int, answer: Told) -> None:
        """Return when the answer of the call `seq` is on disk."""
        await self._journal.append(history.answer_line(seq, answer))

    def close(self) -> None:
        """Let go of the file."""
        self._journal.close()
