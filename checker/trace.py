"""One trace as the services show it, sorted into what the rules ask about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from checker.evidence import Call, Entry, Evidence

OPEN = frozenset({"CREATED", "PROCESSING", "PAYING"})
NUMBER_LENGTH = 26
_MAKES_TRADES = ("CreateTrade", "PayTrade")


@dataclass(frozen=True, slots=True)
class Order:
    """What the caller asked for, from its own calls.

    `is_of_minor` is what the trade is of, None when there is none: it decides only between
    calls that nobody answered.
    """

    trace_no: str
    calls: Sequence[Call]
    is_of_minor: int | None = None

    @property
    def first(self) -> Call:
        """The call that made the trade: the first that was acknowledged, else one that may
        have been carried out and fits what is there, else the first."""
        makes = [call for call in self.calls if call.verb in _MAKES_TRADES] or list(self.calls)
        done = [call for call in makes if call.was_done]
        doubtful = [call for call in makes if call.may_be_done]
        fitting = [call for call in doubtful if call.amount_minor == self.is_of_minor]
        return (done or fitting or doubtful or makes)[0]

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

    def is_winner(self, attempt: Entry, payment: Entry) -> bool:
        """Whether this attempt is the one by which the payment succeeded."""
        if payment.state != "SUCCEEDED":
            return False
        if number := payment.facts.get("attempt_no"):
            return attempt.number == number
        return attempt.state == "SUCCEEDED"

    @property
    def is_decided(self) -> bool:
        """Whether a rule or a person has decided something about it, so that ends may change."""
        return any(one.state == "RESOLVED" for one in self.of("payment", "case"))

    @property
    def is_open(self) -> bool:
        """Whether money may still move: a payment, a refund or an attempt has not ended."""
        kinds = {("payment", "payment"), ("payment", "refund"), ("payment", "give_back"),
                 ("channel", "attempt")}  # fmt: skip
        return any(one.state in OPEN for one in self.entries if (one.service, one.kind) in kinds)


def orders(evidence: Evidence) -> Mapping[str, Order]:
    """Return every order of the history by its trace number, in the order of the calls."""
    calls: dict[str, list[Call]] = {}
    for call in evidence.calls:
        calls.setdefault(call.trace_no, []).append(call)
    is_of = {trade.trace_no: trade.amount_minor for trade in evidence.trades.values()}
    return {
        trace_no: Order(trace_no, found, is_of.get(trace_no)) for trace_no, found in calls.items()
    }


def traces(evidence: Evidence) -> Iterator[tuple[Order, Trace]]:
    """Yield every order that left a trace, with it."""
    for trace_no, order in orders(evidence).items():
        if entries := evidence.traces.get(trace_no):
            yield order, Trace(trace_no, entries)
