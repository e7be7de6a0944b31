"""One trace as the services show it, sorted into what the rules ask about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from checker.evidence import OK, Call, Entry, Evidence

OPEN = frozenset({"CREATED", "PROCESSING", "PAYING"})
NUMBER_LENGTH = 26


@dataclass(frozen=True, slots=True)
class Order:
    """What the caller asked for, from its own calls. The amount is that of accepted calls."""

    trace_no: str
    calls: Sequence[Call]

    @property
    def first(self) -> Call:
        """The first call that was not refused, else the first."""
        accepted = [call for call in self.calls if call.answer and call.answer.code == OK]
        return (accepted or list(self.calls))[0]

    def of(self, *verbs: str) -> list[Call]:
        """Return the calls of these verbs."""
        return [call for call in self.calls if call.verb in verbs]


@dataclass(frozen=True, slots=True)
class Trace:
    """All entries of one trace number."""

    trace_no: str
    entries: Sequence[Entry]

    def of(self, service: str, kind: str) -> list[Entry]:
        """Return the entries of one kind, oldest first."""
        return [one for one in self.entries if (one.service, one.kind) == (service, kind)]

    @property
    def trades(self) -> list[Entry]:
        """The trade; more than one is a finding."""
        return self.of("trade", "trade")

    @property
    def payments(self) -> list[Entry]:
        """The tries to pay."""
        return self.of("payment", "payment")

    def attempts(self, operation: str, number: str = "") -> list[Entry]:
        """Return the attempts to PAY or REFUND, of one payment or refund or of all."""
        return [
            one
            for one in self.of("channel", "attempt")
            if one.facts.get("operation", "").upper() == operation
            and one.facts.get("leg_no", "").startswith(number)
        ]

    @property
    def is_open(self) -> bool:
        """Whether money may still move: a payment, a refund or an attempt has not ended."""
        kinds = {("payment", "payment"), ("payment", "refund"), ("channel", "attempt")}
        return any(one.state in OPEN for one in self.entries if (one.service, one.kind) in kinds)


def orders(evidence: Evidence) -> Mapping[str, Order]:
    """Return every order of the history by its trace number, in the order of the calls."""
    calls: dict[str, list[Call]] = {}
    for call in evidence.calls:
        calls.setdefault(call.trace_no, []).append(call)
    return {trace_no: Order(trace_no, found) for trace_no, found in calls.items()}


def traces(evidence: Evidence) -> Iterator[tuple[Order, Trace]]:
    """Yield every order that left a trace, with it."""
    for trace_no, order in orders(evidence).items():
        if entries := evidence.traces.get(trace_no):
            yield order, Trace(trace_no, entries)
