"""Nothing is forgotten: whatever has not ended says when it will be looked at next."""

from __future__ import annotations

from collections.abc import Iterator

from checker.evidence import Entry, Evidence
from checker.trace import OPEN, Trace, traces
from checker.verdict import Finding, Rule


def _open(evidence: Evidence) -> Iterator[tuple[str, Entry]]:
    for order, trace in traces(evidence):
        for entry in trace.entries:
            if entry.state in OPEN and _is_at_work(entry, trace):
                yield order.trace_no, entry


def _is_at_work(entry: Entry, trace: Trace) -> bool:
    """Whether it goes on by itself. A trade that nobody tries to pay waits for its caller."""
    if (entry.service, entry.kind) != ("trade", "trade"):
        return True
    return any(payment.state in OPEN for payment in trace.payments)


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
