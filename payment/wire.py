"""The service's records as its contract and its neighbours' contracts spell them, and back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from google.rpc import error_details_pb2

from mesh.clock import to_timestamp
from mesh.errors import Malformed
from mesh.money import known
from mesh.wire import fingerprint, money
from payment.attempt import Attempt, AttemptState, leg_of
from payment.model import (
    Payment,
    Refund,
    RefundOrder,
    Tool,
    TradeType,
    next_look,
)
from payment.states import PaymentState, RefundState
from tongbao.channel.v1 import attempt_pb2, channel_service_pb2
from tongbao.common.v1 import item_pb2, kinds_pb2, trace_pb2
from tongbao.ledger.v1 import ledger_pb2
from tongbao.payment.v1 import payment_pb2
from tongbao.payment.v1 import payment_service_pb2 as pb
from tongbao.risk.v1 import risk_service_pb2

# Both ways, made once: looking a name up costs more than the rest of a message.
_TOOL_CODES = {tool: kinds_pb2.Tool.Value(f"TOOL_{tool}") for tool in Tool}
_TOOLS = {code: tool for tool, code in _TOOL_CODES.items()}
_TRADE_TYPE_CODES = {kind: kinds_pb2.TradeType.Value(f"TRADE_TYPE_{kind}") for kind in TradeType}
_TRADE_TYPES = {code: kind for kind, code in _TRADE_TYPE_CODES.items()}
_STATE_CODES = {
    state: payment_pb2.Payment.State.Value(f"STATE_{state.name}") for state in PaymentState
}
_ATTEMPT_STATES = {
    attempt_pb2.Attempt.State.Value(f"STATE_{state.name}"): state for state in AttemptState
}


def check_payment_item(item: pb.CreatePaymentItem) -> None:
    """Raise Malformed, with every violation, for what the contract's rules cannot say."""
    recharge = item.trade_type == kinds_pb2.TRADE_TYPE_RECHARGE
    bad = _violations(item)
    if not known(item.amount.currency_code):
        _add(bad, "amount.currency_code", rule="currency", why="is not a currency of ISO 4217")
    if not item.user_no and (recharge or item.tool == kinds_pb2.TOOL_BALANCE):
        _add(bad, "user_no", rule="required", why="is required for BALANCE and for a recharge")
    if recharge == bool(item.merchant_id):
        _add(bad, "merchant_id", rule="owner", why="is empty for a recharge, and only then")
    if bad.field_violations:
        raise Malformed(bad)


def check_refund_item(item: pb.CreateRefundItem) -> None:
    """Raise Malformed, with every violation, for what the contract's rules cannot say."""
    bad = _violations(item)
    if bad.field_violations:
        raise Malformed(bad)


def content_of(item: pb.CreatePaymentItem | pb.CreateRefundItem) -> bytes:
    """Return what tells a repeated item from another one under its number.

    Whose it is belongs to its content; by when it is wanted does not.
    """
    content: Any = type(item)()
    content.CopyFrom(item)
    content.context.Clear()
    content.context.app_id = item.context.app_id
    content.ClearField("item_id")
    return fingerprint(content)


def payment_from_item(item: pb.CreatePaymentItem, *, now: datetime) -> Payment:
    """Return the payment that `item` asks for, accepted `now`."""
    return Payment(
        payment_no=item.payment_no,
        app_id=item.context.app_id,
        business_code=item.business_code,
        trace_no=item.context.trace_no,
        trade_no=item.trade_no,
        trade_type=_TRADE_TYPES[item.trade_type],
        tool=_TOOLS[item.tool],
        currency_code=item.amount.currency_code,
        amount_minor=item.amount.minor_units,
        merchant_id=item.merchant_id,
        user_no=item.user_no,
        subject=item.subject,
        product_code=item.product_code,
        fee_minor=item.fee_minor,
        due_time=next_look(0, now=now),
        create_time=now,
        update_time=now,
    )


def order_from_item(item: pb.CreateRefundItem) -> RefundOrder:
    """Return the refund that `item` asks for."""
    return RefundOrder(
        refund_no=item.refund_no,
        payment_no=item.payment_no,
        app_id=item.context.app_id,
        currency_code=item.amount.currency_code,
        amount_minor=item.amount.minor_units,
        fee_minor=item.fee_minor,
    )


def payment_to_proto(payment: Payment) -> payment_pb2.Payment:
    """Return the message of `payment`."""
    return payment_pb2.Payment(
        payment_no=payment.payment_no,
        trade_no=payment.trade_no,
        app_id=payment.app_id,
        business_code=payment.business_code,
        trace_no=payment.trace_no,
        trade_type=_TRADE_TYPE_CODES[payment.trade_type],
        tool=_tool(payment),
        amount=money(payment.currency_code, payment.amount_minor),
        merchant_id=payment.merchant_id,
        user_no=payment.user_no,
        fee_minor=payment.fee_minor,
        cost_minor=payment.cost_minor,
        refunded_minor=payment.refunded_minor,
        state=_STATE_CODES[payment.state],
        version=payment.version,
        channel_code=payment.channel_code,
        reported_minor=payment.reported_minor,
        failure_reason=payment.failure_reason,
        qr_code=payment.qr_code,
        product_code=payment.product_code,
        attempt_no=payment.attempt_no,
        reported_currency_code=payment.reported_currency_code,
        review_kind=payment.review_kind,
        from_suspense=payment.from_suspense,
        release_no=payment.release_no,
        create_time=to_timestamp(payment.create_time),
        update_time=to_timestamp(payment.update_time),
    )


def refund_to_proto(refund: Refund) -> payment_pb2.Refund:
    """Return the message of `refund`."""
    return payment_pb2.Refund(
        refund_no=refund.refund_no,
        payment_no=refund.payment_no,
        trade_no=refund.trade_no,
        app_id=refund.app_id,
        business_code=refund.business_code,
        trace_no=refund.trace_no,
        amount=money(refund.currency_code, refund.amount_minor),
        fee_minor=refund.fee_minor,
        merchant_id=refund.merchant_id,
        state=payment_pb2.Refund.State.Value(f"STATE_{refund.state.name}"),
        version=refund.version,
        channel_code=refund.channel_code,
        failure_reason=refund.failure_reason,
        reported_minor=refund.reported_minor,
        review_kind=refund.review_kind,
        create_time=to_timestamp(refund.create_time),
        update_time=to_timestamp(refund.update_time),
    )


def attempt_from_proto(message: attempt_pb2.Attempt) -> Attempt:
    """Return what channel says of a leg."""
    return Attempt(
        attempt_no=message.attempt_no,
        leg_no=message.leg_no,
        app_id=message.app_id,
        state=_ATTEMPT_STATES[message.state],
        channel_code=message.channel_code,
        currency_code=message.amount.currency_code,
        amount_minor=message.amount.minor_units,
        reported_minor=message.reported_minor,
        reported_currency_code=message.reported_currency_code,
        cost_minor=message.cost_minor,
        qr_code=message.qr_code,
        failure_reason=message.failure_reason,
        is_past_horizon=message.is_past_horizon,
    )


def evaluate_item(payment: Payment) -> risk_service_pb2.EvaluateItem:
    """Return the question to risk whether `payment` may go on."""
    return risk_service_pb2.EvaluateItem(
        context=_context(payment),
        payment_no=payment.payment_no,
        tool=_tool(payment),
        amount=money(payment.currency_code, payment.amount_minor),
        user_no=payment.user_no,
        merchant_id=payment.merchant_id,
    )


def pay_item(payment: Payment) -> channel_service_pb2.SubmitItem:
    """Return the leg by which `payment` charges the payer."""
    return channel_service_pb2.SubmitItem(
        context=_context(payment),
        leg_no=leg_of(payment.payment_no),
        operation=attempt_pb2.OPERATION_PAY,
        tool=_tool(payment),
        amount=money(payment.currency_code, payment.amount_minor),
        business_code=payment.business_code,
        user_no=payment.user_no,
        subject=payment.subject,
    )


def close_item(payment: Payment) -> channel_service_pb2.CloseItem:
    """Return the wish that nobody pays the leg of `payment` any more."""
    return channel_service_pb2.CloseItem(context=_context(payment), leg=pay_item(payment))


def refund_item(refund: Refund, payment: Payment) -> channel_service_pb2.SubmitItem:
    """Return the leg by which `refund` gives money of `payment` back."""
    return channel_service_pb2.SubmitItem(
        context=_context(refund),
        leg_no=leg_of(refund.refund_no),
        operation=attempt_pb2.OPERATION_REFUND,
        tool=_tool(payment),
        amount=money(refund.currency_code, refund.amount_minor),
        business_code=refund.business_code,
        user_no=payment.user_no,
        subject=payment.subject,
        original_leg_no=leg_of(payment.payment_no),
    )


def collected(payment: Payment) -> Sequence[ledger_pb2.Posting]:
    """Return the postings that PaymentSucceeded books: the merchant is owed the money.

    What a person accepted comes out of suspense, into which its review had put it.
    """
    if not payment.from_suspense:
        return [payment_posting(payment, "COLLECTED")]
    parked = ledger_pb2.Posting(
        template="MISMATCH_SUSPENDED",
        source_no=payment.attempt_no or payment.payment_no,
        trace_no=payment.trace_no,
        business_code=payment.business_code,
        amount=money(payment.currency_code, payment.amount_minor),
        channel_code=payment.channel_code,
    )
    return [parked, payment_posting(payment, "SUSPENSE_COLLECTED")]


def payment_posting(payment: Payment, template: str) -> ledger_pb2.Posting:
    """Return the whole payment to be booked by `template`."""
    return ledger_pb2.Posting(
        template=template,
        source_no=payment.payment_no,
        trace_no=payment.trace_no,
        business_code=payment.business_code,
        amount=money(payment.currency_code, payment.amount_minor),
        fee_minor=payment.fee_minor,
        cost_minor=payment.cost_minor,
        channel_code=payment.channel_code,
        merchant_id=payment.merchant_id,
        user_no=payment.user_no,
    )


def refund_posting(refund: Refund, template: str) -> ledger_pb2.Posting:
    """Return the whole refund, with the part that our fees bear, to be booked by `template`."""
    return ledger_pb2.Posting(
        template=template,
        source_no=refund.refund_no,
        trace_no=refund.trace_no,
        business_code=refund.business_code,
        amount=money(refund.currency_code, refund.amount_minor),
        fee_minor=refund.fee_minor,
        channel_code=refund.channel_code,
        merchant_id=refund.merchant_id,
    )


def payment_to_trace(payment: Payment, *, deadline: datetime | None) -> trace_pb2.TraceEntry:
    """Return `payment` as one thing of its trace; `deadline` is that of its case in review."""
    facts = {
        "trade_no": payment.trade_no,
        "trade_type": payment.trade_type,
        "tool": payment.tool,
        "merchant_id": payment.merchant_id,
        "channel_code": payment.channel_code,
        "attempt_no": payment.attempt_no,
        "fee_minor": str(payment.fee_minor),
        "cost_minor": str(payment.cost_minor),
        "refunded_minor": str(payment.refunded_minor),
        "reported_minor": str(payment.reported_minor or ""),
        "reported_currency_code": payment.reported_currency_code,
        "review_kind": payment.review_kind,
        "release_no": payment.release_no,
        "failure_reason": payment.failure_reason,
    }
    return _entry("payment", payment.payment_no, payment, facts, deadline)


def refund_to_trace(refund: Refund, *, deadline: datetime | None) -> trace_pb2.TraceEntry:
    """Return `refund` as one thing of its trace; `deadline` is that of its case in review."""
    facts = {
        "refund_of": refund.payment_no,
        "trade_no": refund.trade_no,
        "merchant_id": refund.merchant_id,
        "channel_code": refund.channel_code,
        "attempt_no": refund.attempt_no,
        "fee_minor": str(refund.fee_minor),
        "reported_minor": str(refund.reported_minor or ""),
        "review_kind": refund.review_kind,
        "failure_reason": refund.failure_reason,
    }
    return _entry("refund", refund.refund_no, refund, facts, deadline)


def _violations(
    item: pb.CreatePaymentItem | pb.CreateRefundItem,
) -> error_details_pb2.BadRequest:
    bad = error_details_pb2.BadRequest()
    if item.amount.minor_units <= 0:
        _add(bad, "amount.minor_units", rule="positive", why="must be positive")
    elif item.fee_minor > item.amount.minor_units:
        _add(bad, "fee_minor", rule="at_most_amount", why="must be at most the amount")
    if not item.context.trace_no:
        _add(bad, "context.trace_no", rule="required", why="is required for an order")
    return bad


def _add(bad: error_details_pb2.BadRequest, field: str, *, rule: str, why: str) -> None:
    bad.field_violations.add(field=field, reason=rule, description=why)


def _entry(
    kind: str,
    number: str,
    order: Payment | Refund,
    facts: dict[str, str],
    deadline: datetime | None,
) -> trace_pb2.TraceEntry:
    state: PaymentState | RefundState = order.state
    due_time = order.due_time or (deadline if state.name == "REVIEW" else None)
    return trace_pb2.TraceEntry(
        service="payment",
        kind=kind,
        number=number,
        state=state.name,
        amount=money(order.currency_code, order.amount_minor),
        create_time=to_timestamp(order.create_time),
        update_time=to_timestamp(order.update_time),
        due_time=to_timestamp(due_time) if due_time else None,
        facts=_told(facts),
    )


def _told(facts: dict[str, str]) -> dict[str, str]:
    return {name: fact for name, fact in facts.items() if fact}


def _context(order: Payment | Refund) -> item_pb2.ItemContext:
    return item_pb2.ItemContext(app_id=order.app_id, trace_no=order.trace_no)


def _tool(payment: Payment) -> kinds_pb2.Tool.ValueType:
    return _TOOL_CODES[payment.tool]
