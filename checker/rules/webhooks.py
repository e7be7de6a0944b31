"""Webhooks: every one arrived, repeats are the same, the last one says how things stand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from checker.evidence import Delivery, Entry, Evidence
from checker.trace import traces
from checker.verdict import Finding, Harm, Rule

_PAID = frozenset({"PAID", "COMPLETED"})
_TOLD = frozenset({"PAID", "COMPLETED", "CLOSED", "SUCCEEDED", "FAILED"})
_UNTOLD = "REVIEW"  # Nobody is told that facts conflict; what was told before stays.


def _arrived(evidence: Evidence) -> Iterator[Finding]:
    taken = {f"{one.number}:{one.version}" for one in evidence.deliveries if one.answered == 200}
    for order, trace in traces(evidence):
        for webhook in trace.of("trade", "webhook"):
            if webhook.state != "DELIVERED":
                yield Finding(order.trace_no, f"webhook {webhook.number} is {webhook.state}")
            elif webhook.facts["id"] not in taken:
                yield Finding(order.trace_no, f"webhook {webhook.facts['id']} never arrived")


def _equal(evidence: Evidence) -> Iterator[Finding]:
    """A repeat has the same bytes, and no two webhooks speak of the same version.

    Anybody can send anything to a receiver: what names nothing of ours is not ours.
    """
    bodies: dict[str, str] = {}
    ids: dict[tuple[str, int], str] = {}
    for one in evidence.deliveries:
        if not one.signed:
            if one.number in evidence.trades or one.number in evidence.refunds:
                yield Finding(one.webhook_id, f"a delivery to {one.app} is not signed by us")
            continue
        if bodies.setdefault(one.webhook_id, one.body) != one.body:
            yield Finding(one.webhook_id, "came again with another content")
        version = one.number, one.version
        if ids.setdefault(version, one.webhook_id) != one.webhook_id:
            yield Finding(one.number, f"version {one.version} came under two ids")


def _last(evidence: Evidence) -> Iterator[Finding]:
    """What an app was told last is how the thing stands, and it was told at all."""
    told = _newest(evidence)
    now: dict[str, tuple[str, str, int]] = {
        one.trade_no: (one.trace_no, one.state, one.version) for one in evidence.trades.values()
    }
    now |= {
        one.refund_no: (one.trace_no, one.state, one.version) for one in evidence.refunds.values()
    }
    for number, (trace_no, state, version) in now.items():
        last = told.get(number)
        if last is None:
            if state in _TOLD:
                yield Finding(trace_no, f"{number} is {state}, and its app was told nothing")
        elif state not in (last.state, _UNTOLD):
            yield Finding(trace_no, f"{number} is {state}, its app was told {last.state} last")
        elif last.version > version:
            yield Finding(trace_no, f"{number} is at version {version}, told was {last.version}")


def _never_paid(evidence: Evidence) -> Iterator[Finding]:
    """No webhook says that a trade was paid whose payments say otherwise."""
    won = {
        trade.number
        for _, trace in traces(evidence)
        for trade in trace.trades
        if any(one.state in ("SUCCEEDED", "REVIEW") or _was_paid(one) for one in trace.payments)
        and (trade.state in (*_PAID, "REVIEW") or trace.is_decided)
    }
    known = evidence.trades
    for one in evidence.deliveries:
        if one.state in _PAID and one.number in known and one.number not in won:
            yield Finding(one.trace_no, f"its app was told {one.state}, and nobody paid")


def _was_paid(payment: Entry) -> bool:
    """Whether it had succeeded before its channel took that back."""
    return payment.facts.get("review_kind") == "CHANNEL_REVERSED"


def _newest(evidence: Evidence) -> Mapping[str, Delivery]:
    """Return of every thing the delivery with the highest version that was taken."""
    newest: dict[str, Delivery] = {}
    for one in evidence.deliveries:
        if one.answered == 200 and one.signed:
            seen = newest.get(one.number)
            if seen is None or one.version > seen.version:
                newest[one.number] = one
    return newest


RULES = (
    Rule(
        name="every webhook arrived",
        unit="webhooks",
        count=lambda evidence: sum(
            len(trace.of("trade", "webhook")) for _, trace in traces(evidence)
        ),
        check=_arrived,
        harm=Harm.LOST,
    ),
    Rule(
        name="every delivery is signed, repeats are equal, a version has one webhook",
        unit="deliveries",
        count=lambda evidence: len(evidence.deliveries),
        check=_equal,
    ),
    Rule(
        name="what an app was told last is how things stand",
        unit="trades and refunds",
        count=lambda evidence: len(evidence.trades) + len(evidence.refunds),
        check=_last,
    ),
    Rule(
        name="no app was told PAID of a trade that nobody paid",
        unit="deliveries",
        count=lambda evidence: len(evidence.deliveries),
        check=_never_paid,
    ),
)
