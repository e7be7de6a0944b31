"""Clearing items: one for every success and refund of a merchant, with the agreed fee."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from checker.evidence import Call, Entry, Evidence
from checker.money import fee, rate
from checker.trace import Trace, traces
from checker.verdict import Finding, Rule


def _items(evidence: Evidence) -> Iterator[Finding]:
    for order, trace in traces(evidence):
        items = trace.of("settlement", "clearing_item")
        wanted = _sources(order.first, trace)
        found = Counter(one.number for one in items)
        for number in sorted({*wanted, *found}):
            if found[number] != (number in wanted):
                where = f"{found[number]} clearing items, not {int(number in wanted)}"
                yield Finding(order.trace_no, f"{number} has {where}")
        for item in items:
            if item.number in wanted:
                for what in _item(item, wanted[item.number], order.first, trace, evidence):
                    yield Finding(order.trace_no, f"clearing item {item.number} {what}")


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
    fee_minor = int(item.facts["fee_minor"])
    if int(item.facts["net_minor"]) != gross - fee_minor:
        yield f"has net {item.facts['net_minor']} of {gross} less {fee_minor}"
    if item.facts["merchant_id"] != call.merchant_id:
        yield f"is of merchant {item.facts['merchant_id']}, not {call.merchant_id}"
    if source.kind == "refund":
        return  # Its share of the fee is in the books, and compared there.
    terms = evidence.terms.get(call.merchant_id)
    if terms is not None and fee_minor != fee(gross, terms):
        yield f"takes a fee of {fee_minor}, agreed is {fee(gross, terms)}"
    for attempt in trace.attempts("PAY", source.number):
        cost = rate(gross, evidence.cost_ppm.get(attempt.facts["channel_code"], 0))
        if attempt.state == "SUCCEEDED" and int(item.facts["cost_minor"]) != cost:
            yield f"notes a cost of {item.facts['cost_minor']}, the channel takes {cost}"


RULES = (
    Rule(
        name="every success and refund is cleared once, with the fee that was agreed",
        unit="clearing items",
        count=lambda evidence: sum(
            len(trace.of("settlement", "clearing_item")) for _, trace in traces(evidence)
        ),
        check=_items,
        must_see=False,
    ),
)
