"""What callers were told is still true, and what they repeated was done once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from checker.evidence import MAYBE, OK, Call, Entry, Evidence, Told
from checker.trace import Order, Trace, orders, traces
from checker.verdict import Finding, Harm, Rule

# What may have become of an answer. Whatever is final may only come under review.
_STILL: Mapping[str, frozenset[str]] = {
    "PAID": frozenset({"PAID", "COMPLETED", "REVIEW"}),
    "COMPLETED": frozenset({"COMPLETED", "REVIEW"}),
    "CLOSED": frozenset({"CLOSED", "REVIEW"}),
    "SUCCEEDED": frozenset({"SUCCEEDED", "REVIEW"}),
    "FAILED": frozenset({"FAILED", "REVIEW"}),
}
_MUST_REFUSE = {"reused": "REQUEST_REUSED", "refund_too_much": "REFUND_EXCEEDS_TRADE"}


def _true(evidence: Evidence) -> Iterator[Finding]:
    for order, trace in traces(evidence):
        for call in order.calls:
            if call.answer is not None and call.answer.code == OK:
                for what in _still(call, call.answer, trace):
                    yield Finding(order.trace_no, f"{call.verb} {call.number}: {what}")


def _still(call: Call, told: Told, trace: Trace) -> Iterator[str]:
    shown = (
        ("trade", told.trade_no, told.trade_state, trace.trades),
        ("payment", told.payment_no, told.payment_state, trace.payments),
        ("refund", told.refund_no, told.refund_state, trace.of("trade", "refund")),
    )
    for kind, number, state, entries in shown:
        if not number:
            continue
        now = next((one for one in entries if one.number == number), None)
        if now is None:
            yield f"was told of {kind} {number}, which is not in the trace"
        elif state in _STILL and now.state not in _STILL[state] and not trace.is_decided:
            yield f"was told that {kind} {number} is {state}, and it is {now.state}"
        elif kind == "refund" and now.amount_minor != call.amount_minor:
            yield f"asked for {call.amount_minor}, refund {number} is of {now.amount_minor}"


def _once(evidence: Evidence) -> Iterator[Finding]:
    for order in orders(evidence).values():
        trades = {call.answer.trade_no for call in order.calls
                  if call.answer and call.answer.trade_no}  # fmt: skip
        if len(trades) > 1:
            yield Finding(order.trace_no, f"was answered with {len(trades)} trades")
        for what in (*_repeats(order), *_wrongly_taken(order)):
            yield Finding(order.trace_no, what)
    for order, trace in traces(evidence):
        for what in _made(order, trace):
            yield Finding(order.trace_no, what)


def _repeats(order: Order) -> Iterator[str]:
    """Calls under one number have one result, and one of them at most carried it out."""
    groups: dict[tuple[str, str], list[Told]] = {}
    for call in order.calls:
        if call.answer is not None and call.answer.code == OK:
            groups.setdefault((call.verb, call.number), []).append(call.answer)
    for (verb, number), answers in groups.items():
        results = {(told.trade_no, told.payment_no, told.refund_no) for told in answers}
        if len(results) > 1:
            yield f"{verb} {number} was answered with {len(results)} different things"
        done = sum(not told.replayed for told in answers)
        if done > 1:
            yield f"{verb} {number} was carried out {done} times"


def _wrongly_taken(order: Order) -> Iterator[str]:
    """A number that stands for other content, and a refund of too much, must be refused."""
    for call in order.calls:
        reason = _MUST_REFUSE.get(call.story)
        if reason is None or call.answer is None or not _breaks_a_rule(call, order):
            continue
        in_doubt = call.answer.code in MAYBE and call.answer.reason != "INTERNAL"
        if call.answer.reason != reason and not in_doubt:
            yield f"{call.verb} {call.number} was answered {call.answer.code}, not {reason}"


def _breaks_a_rule(call: Call, order: Order) -> bool:
    if call.verb == "CreateRefund":
        return call.amount_minor > order.first.amount_minor
    return call.amount_minor != order.first.amount_minor


def _made(order: Order, trace: Trace) -> Iterator[str]:
    """There are no more payments and refunds than were asked for."""
    wanted: tuple[tuple[str, str, list[Entry]], ...] = (
        ("PayTrade", "payments", trace.payments),
        ("CreateRefund", "refunds", trace.of("trade", "refund")),
    )
    for verb, kind, entries in wanted:
        numbers = {call.number for call in order.of(verb) if call.may_be_done}
        if len(entries) > len(numbers):
            yield f"has {len(entries)} {kind}, {len(numbers)} were asked for"


RULES = (
    Rule(
        name="what callers were told is still true",
        unit="answers",
        count=lambda evidence: sum(call.answer is not None for call in evidence.calls),
        check=_true,
    ),
    Rule(
        name="what was repeated was done once, and what must be refused was refused",
        unit="calls",
        count=lambda evidence: len(evidence.calls),
        check=_once,
        harm=Harm.DUPLICATE,
    ),
)
