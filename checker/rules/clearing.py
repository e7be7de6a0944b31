"""Clearing items: one for every success and refund of a merchant, with the agreed fee."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from checker.evidence import Call, Entry, Evidence
from checker.money import fee, rate
from checker.trace import Trace, traces
from checker.verdict import Finding, Harm, Rule

# Of a success that the channel took back: no batch takes such an item.
_NOT_CLEARED = frozenset({"HELD", "CANCELLED"})


def _items(evidence: Evidence) -> Iterator[Finding]:
    for order, trace in traces(evidence):
        items = [one for one in trace.of("settlement", "clearing_item")
                 if one.state not in _NOT_CLEARED]  # fmt: skip
        wanted = _sources(order.first, trace)
        found = Counter(one.number for one in items)
        for number in sorted({*wanted, *found}):
            if found[number] != (number in wanted):
                where = f"{found[number]} clearing items, not {int(number in wanted)}"
                harm = Harm.DUPLICATE if found[number] > (number in wanted) else Harm.LOST
                yield Finding(order.trace_no, f"{number} has {where}", harm)
        for item in items:
            if item.number in wanted:
                for what in _item(item, wanted[item.number], order.first, trace, evidence):
                    what = f"clearing item {item.number} {what}"
                    yield Finding(order.trace_no, what, Harm.UNEXPLAINED)


def _sources(call: Call, trace: Trace) -> dict[str, Entry]:
    """Return what a merchant must be credited or debited for."""
    if call.trade_type != "COLLECT":
        return {}
    all_of_them = [*trace.payments, *trace.of("payment", "refund")]
    return {one.number: one for one in all_of_them if one.state == "SUCCEEDED"}


def _item(
    item: Entry, source: Entry, call: Call, trace: Trace, evidence: Evidence
) -> Iterator[str]:
    gross = item.amount_minor
    if (gross, item.currency_code) != (source.amount_minor, source.currency_code):
        yield f"is of {gross} {item.currency_code}, its source of {source.amount_minor}"
    if _fact(item, "net_minor") != gross - _fact(item, "fee_minor"):
        yield f"has net {item.facts['net_minor']} of {gross} less {item.facts['fee_minor']}"
    if item.facts["merchant_id"] != call.merchant_id:
        yield f"is of merchant {item.facts['merchant_id']}, not {call.merchant_id}"
    if source.kind == "refund":
        # Its share of the fee is in the books and compared there: here it must be the same.
        if _fact(item, "fee_minor") != _fact(source, "fee_minor"):
            yield f"gives back a fee of {item.facts['fee_minor']}, the refund {_told_fee(source)}"
        return
    yield from _agreed(item, call, trace.attempts("PAY", source.number), evidence)


def _snapshots(evidence: Evidence) -> Iterator[Finding]:
    """Fee and cost are fixed before the charge and carried along, never computed again."""
    for order, trace in traces(evidence):
        for payment in trace.payments:
            if payment.state == "SUCCEEDED":
                attempts = trace.attempts("PAY", payment.number)
                for what in _agreed(payment, order.first, attempts, evidence):
                    yield Finding(order.trace_no, f"payment {payment.number} {what}")
        asked = {one.number: one for one in trace.of("trade", "refund")}
        for refund in trace.of("payment", "refund"):
            twin = asked.get(refund.number)
            if twin is not None and _fact(twin, "fee_minor") != _fact(refund, "fee_minor"):
                what = f"gives back a fee of {_told_fee(refund)}, trade asked for {_told_fee(twin)}"
                yield Finding(order.trace_no, f"refund {refund.number} {what}")


def _agreed(one: Entry, call: Call, attempts: Sequence[Entry], evidence: Evidence) -> Iterator[str]:
    """Compare what a payment or its clearing item notes with contract and channel account."""
    terms = evidence.terms.get(call.merchant_id)
    wanted = fee(one.amount_minor, terms) if terms is not None else 0
    if _fact(one, "fee_minor") != wanted:
        yield f"notes a fee of {_told_fee(one)}, agreed is {wanted}"
    for attempt in attempts:
        cost = rate(one.amount_minor, evidence.cost_ppm.get(attempt.facts["channel_code"], 0))
        if attempt.state == "SUCCEEDED" and _fact(one, "cost_minor") != cost:
            yield f"notes a cost of {_fact(one, 'cost_minor')}, the channel takes {cost}"


def _fact(one: Entry, name: str) -> int:
    return int(one.facts.get(name) or 0)


def _told_fee(one: Entry) -> str:
    return one.facts.get("fee_minor") or "0"


RULES = (
    Rule(
        name="every success and refund is cleared once, with the fee that was agreed",
        unit="clearing items",
        count=lambda evidence: sum(
            len(trace.of("settlement", "clearing_item")) for _, trace in traces(evidence)
        ),
        check=_items,
        must_see=False,
        harm=Harm.LOST,
    ),
    Rule(
        name="fee and cost are what contract and channel account say, everywhere",
        unit="payments",
        count=lambda evidence: sum(len(trace.payments) for _, trace in traces(evidence)),
        check=_snapshots,
    ),
)
