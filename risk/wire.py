"""The service's records as its contract spells them, and back."""

from __future__ import annotations

from datetime import date

from mesh.clock import to_timestamp
from mesh.money import known
from mesh.wire import fingerprint, malformed, money
from risk.model import Decision, Entry, Evaluation, Verdict
from tongbao.common.v1 import money_pb2, trace_pb2
from tongbao.risk.v1 import risk_service_pb2 as pb

_VERDICTS = {verdict: pb.Decision.Value(f"DECISION_{verdict.name}") for verdict in Verdict}


def evaluation_from_proto(item: pb.EvaluateItem, *, business_date: date) -> Evaluation:
    """Return the record of `item`. Raises Malformed unless its amount is positive."""
    if item.amount.minor_units <= 0:
        raise malformed("amount.minor_units", rule="positive", description="must be positive")
    return Evaluation(
        payment_no=item.payment_no,
        app_id=item.context.app_id,
        trace_no=item.context.trace_no,
        user_no=item.user_no,
        currency_code=item.amount.currency_code,
        amount_minor=item.amount.minor_units,
        business_date=business_date,
        fingerprint=fingerprint(item, without=("context",)),
    )


def decision_to_proto(decision: Decision) -> pb.EvaluateResult:
    """Return the result that says `decision`."""
    return pb.EvaluateResult(decision=_VERDICTS[decision.verdict], cause=decision.cause)


def entry_to_trace(entry: Entry) -> trace_pb2.TraceEntry:
    """Return `entry` as one thing of its trace."""
    facts = {"decision": entry.verdict.name, "business_date": entry.business_date.isoformat()}
    if entry.cause:
        facts["cause"] = entry.cause
    return trace_pb2.TraceEntry(
        service="risk",
        kind="decision",
        number=entry.payment_no,
        state=entry.state.name,
        amount=money(entry.currency_code, entry.amount_minor),
        create_time=to_timestamp(entry.create_time),
        update_time=to_timestamp(entry.update_time),
        facts=facts,
    )


def check_currency(amount: money_pb2.Money, *, field: str) -> None:
    """Raise Malformed unless we know how to count in the currency of `amount`."""
    if not known(amount.currency_code):
        name = f"{field}.currency_code"
        raise malformed(name, rule="currency", description="is not a currency of ISO 4217")
