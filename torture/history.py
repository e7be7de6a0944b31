"""Writes the history of a run: what was asked, how it ended, and what was done to everybody.

One writer; a line for each beginning and each end, with monotonic times. `checker.timed`
reads it.
"""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from checker import timed
from checker.evidence import MAYBE, OK, Call, Told

# A definite answer that nevertheless asks to come again.
_AGAIN = "NOT_EXECUTED"


class History:
    """The file of one run."""

    def __init__(self, path: Path) -> None:
        """Make the file anew."""
        self._path = path
        self._file = path.open("w")
        self._ids = itertools.count(1)

    def calls(self) -> list[Call]:
        """Return all calls so far, with their answers."""
        return self.read().calls

    def read(self) -> timed.Timed:
        """Return everything so far."""
        self._file.flush()
        with self._path.open() as file:
            return timed.read(file)

    def close(self) -> None:
        """Bring everything to the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def call_begins(self, process: str, call: Call) -> int:
        """Write that `call` is about to be sent; return its number."""
        return self._begins(process, call.verb, call=timed.call_facts(call))

    def read_begins(self, process: str, verb: str) -> int:
        """Write that something is about to be read; return the number of that."""
        return self._begins(process, verb)

    def intrusion_begins(self, process: str, verb: str, *, what: str, expected: str) -> int:
        """Write that somebody is about to try what nobody may."""
        return self._begins(process, verb, intrusion={"what": what, "expected": expected})

    def ends(
        self,
        number: int,
        process: str,
        verb: str,
        told: Told,
        *,
        sights: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Write how it ended, and what was seen."""
        facts = {name: value for name, value in asdict(told).items() if value}
        self._write(process, kind_of(told), i=number, f=verb, told=facts, sights=list(sights))

    def looked(self, number: int, process: str, gap_minor: Mapping[str, int]) -> None:
        """Write what a look at the trial balance has shown."""
        self._write(process, timed.OK, i=number, f="GetTrialBalance", gap_minor=dict(gap_minor))

    def fault_begins(self, kind: str, facts: Mapping[str, Any]) -> int:
        """Write that a fault begins; return its number."""
        number = next(self._ids)
        self._write("nemesis", timed.START, i=number, f=kind, **facts)
        return number

    def fault_ends(self, kind: str, number: int, *, hit: bool) -> None:
        """Write that a fault is over, and whether it hit anything."""
        self._write("nemesis", timed.STOP, i=number, f=kind, hit=hit)

    def _begins(self, process: str, verb: str, **facts: Any) -> int:
        number = next(self._ids)
        self._write(process, timed.INVOKE, i=number, f=verb, **facts)
        return number

    def _write(self, process: str, kind: str, **facts: Any) -> None:
        line = {"t_ns": time.monotonic_ns(), "process": process, "type": kind, **facts}
        self._file.write(json.dumps(line, ensure_ascii=False) + "\n")


def is_definite(told: Told) -> bool:
    """Return whether there is nothing to ask again."""
    return kind_of(told) != timed.INFO and told.reason != _AGAIN


def kind_of(told: Told) -> str:
    """Return whether it was done, certainly not done, or nobody knows."""
    if told.code == OK:
        return timed.OK
    return timed.INFO if told.code in MAYBE and told.reason != _AGAIN else timed.FAIL
