"""How `tongbao ledger verify` has all books proved, in as many calls as that takes."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import grpc

from ledger.model import Finding
from mesh.cli.call import describe, exchange, find_method
from mesh.clock import monotonic
from mesh.config import load
from mesh.embedded.places import StartError
from mesh.tokens import LIFE_SECONDS
from tongbao.ledger.v1 import ledger_ops_service_pb2 as pb

UNFINISHED = "UNFINISHED"
# Before each new call, after calls in a row that brought no proof further. A service that is
# replaced is back at once, one that crashed in some seconds.
WAITS = (0.0, 1.0, 2.0, 4.0, 8.0)
# A call ends itself before its token does, where another one can go on.
CALL_SECONDS = LIFE_SECONDS / 2
# With these somebody else, or the same one later, may answer. What is refused stays refused.
_PASSING = frozenset({"UNAVAILABLE", "UNKNOWN", "CANCELLED", "DEADLINE_EXCEEDED"})


@dataclass(slots=True)
class Verdict:
    """What was looked at, in how many calls, which broke off, and what does not hold."""

    books: dict[int, int] = field(default_factory=dict)  # How far each is proved: its head.
    entries: int = 0
    accounts: int = 0
    checkpoints: int = 0
    calls: int = 0
    interruptions: list[str] = field(default_factory=list)
    # In order. What is said again, by a call that goes on, counts once.
    findings: dict[Finding, None] = field(default_factory=dict)

    def find(self, *findings: Finding) -> None:
        """Add findings."""
        self.findings |= dict.fromkeys(findings)

    def data(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        told = {one.name: getattr(self, one.name) for one in fields(self)}
        return told | {"findings": [asdict(one) for one in self.findings]}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mark:
    """From where a call goes on, and what was counted up to there. Findings are not: what was
    found once stays found.
    """

    continuation: str = ""
    books: dict[int, int] = field(default_factory=dict)
    entries: int = 0
    accounts: int = 0


def prove(verdict: Verdict, *, home: Path | None, as_name: str) -> None:
    """Add what the ledger proves, and tell how far it is.

    A call lasts no longer than half of a token's life; another one goes on. So it does when a call
    breaks off, until several in a row brought nothing; then what was found stays. Raises
    StartError when nothing answers at all.
    """
    asking = _Asking(verdict, home=home, as_name=as_name)
    failed = 0
    try:
        while True:
            before = asking.mark
            try:
                if asking.call():
                    return
            except (grpc.RpcError, StartError) as error:
                why, passes = _why(error)
                if not verdict.books:
                    raise _nothing_answers(error) from None
                failed = 0 if asking.mark is not before else failed + 1
                place = asking.place()
                if not passes or failed >= len(WAITS):
                    detail = f"{why}: from there on, and what is on accounts, is not proved"
                    verdict.find(Finding(check=UNFINISHED, place=place, detail=detail))
                    return
                verdict.interruptions.append(f"{place}: {why}")
                sys.stderr.write(f"\n{place}: {why}; it is gone on with\n")
                time.sleep(WAITS[failed])
    finally:
        sys.stderr.write("\n")


class _Asking:
    """One proof, call by call."""

    def __init__(self, verdict: Verdict, *, home: Path | None, as_name: str) -> None:
        self.mark = _Mark()
        self._verdict, self._home, self._as_name = verdict, home, as_name
        self._began, self._done, self._told = monotonic(), 0, ""

    def call(self) -> bool:
        """Go on from the mark, and return whether the proof is through. Raises what breaks off."""
        began, verdict = monotonic(), self._verdict
        verdict.calls += 1
        is_first = True
        with closing(self._answers()) as answers:
            for part in answers:
                if is_first:  # Not before: until then we are as far as the call that broke off.
                    verdict.books = dict(self.mark.books)
                    verdict.entries, verdict.accounts = self.mark.entries, self.mark.accounts
                    is_first = False
                self._add(part)
                if part.continuation:
                    self.mark = _Mark(
                        continuation=part.continuation,
                        books=dict(verdict.books),
                        entries=verdict.entries,
                        accounts=verdict.accounts,
                    )
                    if monotonic() - began > CALL_SECONDS:
                        return False
        return True

    def place(self) -> str:
        """Return how far we are."""
        book_id, proved = list(self._verdict.books.items())[-1]
        return f"book {book_id} from block {proved + 1}"

    def _answers(self) -> Generator[Any, None, None]:
        method = find_method("ledger.v1.LedgerOpsService/ProveBlocks")
        request = pb.ProveBlocksRequest(continuation=self.mark.continuation)
        yield from exchange(load(home=self._home), method, request, self._as_name)

    def _add(self, part: Any) -> None:
        verdict = self._verdict
        self._done += part.next_block - 1 - verdict.books.get(part.book_id, 0)
        verdict.books[part.book_id] = part.next_block - 1
        verdict.entries += part.entries
        verdict.accounts += part.accounts
        verdict.find(
            *(Finding(check=one.check, place=one.place, detail=one.detail) for one in part.findings)
        )
        self._tell(part)

    def _tell(self, part: Any) -> None:
        """Tell how far it is. A log has each percent once."""
        percent = 100 * (part.next_block - 1) // part.head_block if part.head_block else 100
        place = f"book {part.book_id}: {percent}%"
        rate = int(self._done / max(monotonic() - self._began, 0.001))
        line = f"{place} of {part.head_block} blocks, {rate} blocks/s"
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{line}\033[K")
        elif place != self._told:
            sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
        self._told = place


def _why(error: grpc.RpcError | StartError) -> tuple[str, bool]:
    """Return why a call broke off, and whether another one may go on."""
    if isinstance(error, StartError):
        return f"{error.what}: {error.why}", True
    told = describe(error)
    reason = str(told["reason"])
    why = f"{told['error']} ({reason or told['code']})"
    return why, reason == "TOKEN_EXPIRED" or told["code"] in _PASSING


def _nothing_answers(error: grpc.RpcError | StartError) -> StartError:
    if isinstance(error, StartError):
        return error
    told = describe(error)
    why = str(told["reason"] or told["code"])
    return StartError(str(told["error"]), why=why, next_step=str(told["next"]))
