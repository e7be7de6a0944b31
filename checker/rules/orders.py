"""Trade = payment = channel, trace by trace: states that fit, amounts that are equal."""

from __future__ import annotations

from collections.abc import Iterator

from checker.evidence import OK, Entry, Evidence
from checker.trace import OPEN, Order, Trace, orders, traces
from checker.verdict import Finding, Harm, Rule

_PAID = frozenset({"PAID", "COMPLETED"})
_NOT_CHARGED = frozenset({"FAILED", "CLOSED"})


def _agree(evidence: Evidence) -> Iterator[Finding]:
    for order in orders(evidence).values():
        accepted = [call for call in order.calls if call.answer and call.answer.code == OK]
        if accepted and not evidence.traces.get(order.trace_no):
            yield Finding(order.trace_no, "was accepted and has no trace", Harm.LOST)
    for order, trace in traces(evidence):
        if len(trace.trades) != 1:
            yield Finding(order.trace_no, f"has {len(trace.trades)} trades")
            continue
        trade = trace.trades[0]
        for what in (*_trade(order, trade, trace), *_shown(order, trade, evidence)):
            yield Finding(order.trace_no, what)
        for payment in trace.payments:
            for what in _payment(payment, trade, trace):
                yield Finding(order.trace_no, f"payment {payment.number} {what}")


def _trade(order: Order, trade: Entry, trace: Trace) -> Iterator[str]:
    asked = order.first
    if (trade.amount_minor, trade.currency_code) != (asked.amount_minor, asked.currency_code):
        yield f"was asked for {_money(asked)} and is a trade of {_money(trade)}"
    won = [one for one in trace.payments if one.state == "SUCCEEDED"]
    reviewed = [one for one in trace.payments if one.state == "REVIEW"]
    if len(won) > 1:
        yield f"was paid {len(won)} times"
    if trade.state in _PAID and not won:
        yield f"is {trade.state} and no payment succeeded"
    if trade.state not in _PAID and won and not reviewed:
        yield f"is {trade.state} although payment {won[0].number} succeeded"
    if (trade.state == "REVIEW") != bool(reviewed and not won):
        yield f"is {trade.state} with {len(reviewed)} payments under review"
    if reviewed and not trace.of("payment", "case"):
        yield "is under review without a case"
    if trade.state == "CREATED" and trace.payments:
        yield f"is CREATED with {len(trace.payments)} payments"
    if trade.state == "CLOSED":
        yield from _closed(trace)


def _closed(trace: Trace) -> Iterator[str]:
    """Nobody can pay what is closed: no try is open, and what was charged has its case."""
    for one in (*trace.payments, *trace.attempts("PAY")):
        if one.state in OPEN:
            yield f"is CLOSED, and its {one.kind} {one.number} is {one.state}"
    about = {case.facts.get("about", "") for case in trace.of("payment", "case")}
    for payment in trace.payments:
        charged = [one for one in trace.attempts("PAY", payment.number)
                   if one.state in ("SUCCEEDED", "REVIEW") and not _went_back(one)]  # fmt: skip
        if charged and payment.number not in about:
            yield f"is CLOSED, attempt {charged[0].number} is {charged[0].state}, without a case"


def _shown(order: Order, trade: Entry, evidence: Evidence) -> Iterator[str]:
    """GetTrade must show the trade of GetTrace, and the parties that the caller named."""
    now, asked = evidence.trades.get(trade.number), order.first
    if now is None:
        yield f"has trade {trade.number}, which GetTrade does not know"
        return
    if (now.state, now.amount_minor) != (trade.state, trade.amount_minor):
        yield f"is {now.state} {now.amount_minor} for GetTrade, {trade.state} {trade.amount_minor}"
    if (now.merchant_id, now.user_no) != (asked.merchant_id, asked.user_no):
        yield f"is between {now.user_no!r} and {now.merchant_id!r}, not as its caller said"


def _payment(payment: Entry, trade: Entry, trace: Trace) -> Iterator[str]:
    if (payment.amount_minor, payment.currency_code) != (trade.amount_minor, trade.currency_code):
        yield f"is of {_money(payment)}, the trade of {_money(trade)}"
    attempts = trace.attempts("PAY", payment.number)
    yield from _charged(payment, attempts, trace)
    decisions = [one for one in trace.of("risk", "decision") if one.number == payment.number]
    if attempts and not any(one.facts.get("decision") == "PASS" for one in decisions):
        yield "reached a channel without a PASS of risk"


def _went_back(attempt: Entry) -> bool:
    """Return whether channel heard that the money went back; if it did is the provider's rule."""
    reason = attempt.facts.get("failure_reason", "")
    return attempt.state == "REVIEW" and reason == "CHANNEL_REVERSED"


def _charged(order: Entry, attempts: list[Entry], trace: Trace) -> Iterator[str]:
    """What a payment or refund says must be what its attempts say.

    Money that moved beside it, or although it is over, has a case that is about it.
    """
    about = {case.facts.get("about", "") for case in trace.of("payment", "case")}
    moved = [one for one in attempts if one.state in ("SUCCEEDED", "REVIEW")]
    won = [one for one in moved if trace.is_winner(one, order)]
    if order.state == "SUCCEEDED" and len(won) != 1:
        yield f"SUCCEEDED with {len(won)} attempts that moved money"
    if order.state == "SUCCEEDED":
        for one in moved:
            if one not in won and not {one.number, order.number} & about:
                yield f"SUCCEEDED, and attempt {one.number} moved money too, without a case"
    if order.state in _NOT_CHARGED and not order.facts.get("review_kind"):
        wrong = [one for one in attempts if one.state not in _NOT_CHARGED and not _went_back(one)]
        if wrong:
            yield f"is {order.state}, its attempt {wrong[0].number} is {wrong[0].state}"
    if order.state == "REVIEW" and not any(
        one.state in ("REVIEW", "SUCCEEDED") for one in attempts
    ):
        yield "is under REVIEW, and no attempt has moved money"
    for one in attempts:
        if (one.amount_minor, one.currency_code) != (order.amount_minor, order.currency_code):
            yield f"is of {_money(order)}, its attempt {one.number} of {_money(one)}"


def _ordered(evidence: Evidence) -> Iterator[Finding]:
    for order, trace in traces(evidence):
        times = [_moment(entry.create_time) for entry in trace.entries]
        if times != sorted(times):
            yield Finding(order.trace_no, "is not in time order")


def _moment(text: str) -> tuple[str, str]:
    """Return RFC 3339 in UTC as something that sorts, however many decimals it has."""
    seconds, _, decimals = text.rstrip("Z").partition(".")
    return seconds, decimals.ljust(9, "0")


def _refunds(evidence: Evidence) -> Iterator[Finding]:
    for order, trace in traces(evidence):
        asked, carried = trace.of("trade", "refund"), trace.of("payment", "refund")
        by_number = {one.number: one for one in carried}
        for refund in asked:
            for what in _refund(refund, by_number.pop(refund.number, None), trace):
                yield Finding(order.trace_no, f"refund {refund.number} {what}")
        for number in by_number:
            yield Finding(order.trace_no, f"refund {number} was carried out, and nobody asked")
        for what in _sum(trace, asked, evidence):
            yield Finding(order.trace_no, what)


def _refund(refund: Entry, carried: Entry | None, trace: Trace) -> Iterator[str]:
    attempts = trace.attempts("REFUND", refund.number)
    if carried is None:
        if refund.state not in ("FAILED", *OPEN):
            yield f"is {refund.state} for trade, unknown to payment"
        return
    state = "PROCESSING" if carried.state == "CREATED" else carried.state
    if (refund.state, refund.amount_minor) != (state, carried.amount_minor):
        yield (f"is {refund.state} {refund.amount_minor} for trade, "
               f"{carried.state} {carried.amount_minor} for payment")  # fmt: skip
    yield from _charged(carried, attempts, trace)


def _sum(trace: Trace, refunds: list[Entry], evidence: Evidence) -> Iterator[str]:
    """What is counted as given back must be the refunds that did not fail."""
    if len(trace.trades) != 1:
        return
    trade = trace.trades[0]
    given = sum(one.amount_minor for one in refunds if one.state != "FAILED")
    now = evidence.trades.get(trade.number)
    if now is not None and now.refunded_minor != given:
        yield f"counts {now.refunded_minor} as given back, its refunds are {given}"
    if given > trade.amount_minor:
        yield f"gave back {given} of {trade.amount_minor}"


def _money(one: Entry | object) -> str:
    return f"{getattr(one, 'amount_minor', '?')} {getattr(one, 'currency_code', '?')}"


RULES = (
    Rule(
        name="every trace is in time order",
        unit="traces",
        count=lambda evidence: sum(1 for _ in traces(evidence)),
        check=_ordered,
    ),
    Rule(
        name="trade = payment = channel in every trace",
        unit="traces",
        count=lambda evidence: sum(1 for _ in traces(evidence)),
        check=_agree,
    ),
    Rule(
        name="every refund is the same for trade, payment and channel, and none is too much",
        unit="refunds",
        count=lambda evidence: sum(
            len(trace.of("trade", "refund")) for _, trace in traces(evidence)
        ),
        check=_refunds,
        must_see=False,
    ),
)
