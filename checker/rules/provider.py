"""The provider's truth = our books: order by order, and in sum at every acquirer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from checker.effects import moved_by, movements
from checker.evidence import Entry, Evidence, Movement
from checker.money import rate
from checker.trace import Trace, traces
from checker.verdict import Finding, Rule

_ENDED_WITHOUT_MONEY = frozenset({"FAILED", "CLOSED"})
# What a provider's order can come to that only a person can put right with us.
REVERSED, SECOND_CHARGE = "REVERSED", "second_charge"


def _attempts(evidence: Evidence) -> Iterator[Finding]:
    known = movements(evidence)
    for order, trace in traces(evidence):
        for attempt in _external(trace, evidence):
            movement = known.get((attempt.facts["channel_code"], attempt.number))
            for what in _attempt(attempt, movement):
                yield Finding(order.trace_no, f"attempt {attempt.number} {what}")


def _attempt(attempt: Entry, movement: Movement | None) -> Iterator[str]:
    moved = movement.moved_minor if movement else 0
    if attempt.state == "SUCCEEDED" and moved != attempt.amount_minor:
        yield f"SUCCEEDED with {attempt.amount_minor}, at the provider {moved} moved"
    if attempt.state in _ENDED_WITHOUT_MONEY and movement and movement.state == REVERSED:
        yield f"is {attempt.state}, at the provider money moved and went back: nobody looks at it"
    if attempt.state in _ENDED_WITHOUT_MONEY and moved:
        yield f"is {attempt.state}, at the provider {moved} moved"
    if attempt.facts.get("failure_reason") == "CHANNEL_REVERSED" and moved:
        yield f"says that the money went back, at the provider {moved} moved"
    reported = attempt.facts.get("reported_minor")
    if reported and int(reported) != moved:
        yield f"has a report of {reported}, at the provider {moved} moved"
    if movement is not None and movement.amount_minor != attempt.amount_minor:
        yield f"asks for {attempt.amount_minor}, the provider was asked for {movement.amount_minor}"
    if (
        attempt.state not in _ENDED_WITHOUT_MONEY
        and movement is None
        and attempt.state != ("PROCESSING")
    ):
        yield f"is {attempt.state}, and the provider does not know it"


def _sums(evidence: Evidence) -> Iterator[Finding]:
    """In clearing stands what moved in, less what moved out, less what the channel takes.

    Also where facts conflict: what the provider took back has left clearing, and what it took
    twice is there twice, whatever a person will decide.
    """
    in_doubt = _in_doubt(evidence)
    stands: Counter[tuple[str, str]] = Counter()
    for one in evidence.movements:
        place = one.acquirer, one.currency_code
        if one.kind == "refund":
            stands[place] -= one.moved_minor
            continue
        known = one.kind == "charge" and one.number not in in_doubt
        takes_cost = known and one.moved_minor == one.amount_minor
        cost = rate(one.moved_minor, evidence.cost_ppm.get(one.acquirer, 0)) if takes_cost else 0
        stands[place] += one.moved_minor - cost
    booked = {
        (line.owner, line.currency_code): line.debit_minor - line.credit_minor
        for line in evidence.trial
        if line.kind == "CLEARING" and line.owner in evidence.cost_ppm
    }
    for place in sorted({*stands, *booked}):
        if stands[place] != booked.get(place, 0):
            yield Finding(
                f"clearing:{place[0]}:{place[1]}",
                f"stands at {booked.get(place, 0)}, the provider's own orders make {stands[place]}",
            )


def _second_charges(evidence: Evidence) -> Iterator[Finding]:
    """What a payer paid a second time is known to us: that attempt is under review."""
    second = {(one.acquirer, one.of) for one in evidence.movements if one.kind == SECOND_CHARGE}
    for order, trace in traces(evidence):
        for attempt in _external(trace, evidence):
            place = attempt.facts["channel_code"], attempt.number
            if place in second and attempt.state != "REVIEW":
                what = (
                    f"attempt {attempt.number} is {attempt.state}, the provider has it paid twice"
                )
                yield Finding(order.trace_no, what)


def _in_doubt(evidence: Evidence) -> set[str]:
    """Return the charges that are in suspense and therefore bear no cost."""
    known = movements(evidence)
    return {
        attempt.number
        for _, trace in traces(evidence)
        for payment in trace.payments
        for attempt in trace.attempts("PAY", payment.number)
        if not trace.is_winner(attempt, payment) and moved_by(attempt, known)
    }


def _external(trace: Trace, evidence: Evidence) -> list[Entry]:
    return [
        one
        for one in (*trace.attempts("PAY"), *trace.attempts("REFUND"))
        if one.facts["channel_code"] in evidence.cost_ppm
    ]


RULES = (
    Rule(
        name="the provider's truth = our attempts, order by order",
        unit="attempts",
        count=lambda evidence: sum(
            len(_external(trace, evidence)) for _, trace in traces(evidence)
        ),
        check=_attempts,
    ),
    Rule(
        name="what was paid twice at the provider is under review",
        unit="second payments",
        count=lambda evidence: sum(one.kind == SECOND_CHARGE for one in evidence.movements),
        check=_second_charges,
        must_see=False,
    ),
    Rule(
        name="the provider's truth = clearing, in sum at every acquirer",
        unit="orders at the provider",
        count=lambda evidence: len(evidence.movements),
        check=_sums,
    ),
)
