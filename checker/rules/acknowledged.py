"""What was acknowledged is there, has ended once, and has moved money once at the provider."""

from __future__ import annotations

from collections.abc import Iterator

from checker.effects import movements
from checker.evidence import OK, Call, Evidence, Told
from checker.trace import OPEN, Trace, traces
from checker.verdict import Finding, Harm, Rule

# Cases that say: this money moved, and it was not to be.
_SPARE = frozenset({"LATE_SUCCESS", "DUPLICATE_SUCCESS"})


def _acknowledged(evidence: Evidence) -> Iterator[tuple[Call, Told]]:
    for call in evidence.calls:
        if call.answer is not None and call.answer.code == OK:
            yield call, call.answer


def _ended(evidence: Evidence) -> Iterator[Finding]:
    for call, told in _acknowledged(evidence):
        trace = Trace(call.trace_no, evidence.traces.get(call.trace_no, ()))
        for what in _end(told, trace):
            yield Finding(call.trace_no, f"{call.verb} {call.number} was acknowledged: {what}")


def _end(told: Told, trace: Trace) -> Iterator[str]:
    """A trade may wait for its caller; a payment or refund must have come to an end."""
    asked = (
        ("trade", told.trade_no, trace.trades, frozenset[str]()),
        ("payment", told.payment_no, trace.payments, OPEN),
        ("refund", told.refund_no, trace.of("trade", "refund"), OPEN),
    )
    for kind, number, entries, is_open in asked:
        if not number:
            continue
        found = [one for one in entries if one.number == number]
        if len(found) != 1:
            yield f"{kind} {number} is there {len(found)} times"
        elif found[0].state in is_open:
            yield f"{kind} {number} is still {found[0].state}"


def _refused(evidence: Evidence) -> Iterator[Finding]:
    """A number whose every call was refused for good stands for nothing."""
    doubtful = {
        (call.trace_no, call.verb, call.number) for call in evidence.calls if call.may_be_done
    }
    for call in evidence.calls:
        if (call.trace_no, call.verb, call.number) in doubtful or call.verb != "CreateRefund":
            continue
        trace = Trace(call.trace_no, evidence.traces.get(call.trace_no, ()))
        for refund in trace.of("trade", "refund"):
            if refund.facts.get("refund_order_no") == call.number:
                what = f"{call.number} was refused and is refund {refund.number}"
                yield Finding(call.trace_no, what)
    for trace_no, entries in evidence.traces.items():
        mine = [call for call in evidence.calls if call.trace_no == trace_no]
        if entries and mine and not any(call.may_be_done for call in mine):
            yield Finding(trace_no, "every call was refused, and there is a trace")


def _once(evidence: Evidence) -> Iterator[Finding]:
    """Of all attempts for one payment or refund, money moved for one at most.

    More than that is explained by a case only, which says what is spare.
    """
    known = movements(evidence)
    for order, trace in traces(evidence):
        spare = {
            case.facts.get("about", "")
            for case in trace.of("payment", "case")
            if case.facts.get("kind") in _SPARE
        }
        for operation, orders in (
            ("PAY", trace.payments),
            ("REFUND", trace.of("payment", "refund")),
        ):
            for one in orders:
                moved = [
                    attempt
                    for attempt in trace.attempts(operation, one.number)
                    if attempt.number not in spare
                    and (place := known.get((attempt.facts["channel_code"], attempt.number)))
                    and place.moved_minor
                ]
                if len(moved) > 1 and one.number not in spare:
                    what = f"{one.kind} {one.number} moved money {len(moved)} times"
                    yield Finding(order.trace_no, f"{what}, and no case says so")


RULES = (
    Rule(
        name="what was acknowledged is there and has come to its one end",
        unit="acknowledged calls",
        count=lambda evidence: sum(1 for _ in _acknowledged(evidence)),
        check=_ended,
        harm=Harm.LOST,
    ),
    Rule(
        name="what was refused for good never happened",
        unit="calls",
        count=lambda evidence: len(evidence.calls),
        check=_refused,
    ),
    Rule(
        name="money moved once for each payment and refund, or a case says what is spare",
        unit="payments",
        count=lambda evidence: sum(len(trace.payments) for _, trace in traces(evidence)),
        check=_once,
        harm=Harm.DUPLICATE,
    ),
)
