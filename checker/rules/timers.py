"""Nothing is forgotten: whatever has not ended says when it will be looked at next."""

from __future__ import annotations

from collections.abc import Iterator

from checker.evidence import Entry, Evidence
from checker.trace import OPEN, traces
from checker.verdict import Finding, Rule


def _open(evidence: Evidence) -> Iterator[tuple[str, Entry]]:
    for order, trace in traces(evidence):
        for entry in trace.entries:
            if entry.state in OPEN:
                yield order.trace_no, entry


def _due(evidence: Evidence) -> Iterator[Finding]:
    for trace_no, entry in _open(evidence):
        if not entry.due_time:
            what = f"{entry.service} {entry.kind} {entry.number} is {entry.state}"
            yield Finding(trace_no, f"{what}, and nobody will look at it again")


RULES = (
    Rule(
        name="nothing is PROCESSING without a due time",
        unit="open things",
        count=lambda evidence: sum(1 for _ in _open(evidence)),
        check=_due,
        must_see=False,
    ),
)
