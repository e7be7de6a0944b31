"""The service's records as its contract spells them, and back."""

from __future__ import annotations

from datetime import datetime

import orjson
from google.protobuf.json_format import MessageToDict

from mesh.clock import to_timestamp
from mesh.wire import fingerprint, money
from tongbao.common.v1 import kinds_pb2, trace_pb2
from tongbao.payment.v1 import payment_pb2, payment_service_pb2
from tongbao.trade.v1 import setup_pb2, trade_pb2
from tongbao.trade.v1 import trade_service_pb2 as pb
from trade.model import (
    App,
    FeePolicy,
    Merchant,
    Order,
    PaymentView,
    Product,
    Refund,
    Tool,
    Trade,
    TradeType,
    Try,
    Wallet,
)
from trade.states import PayState, RefundEvent, RefundState, TradeState
from trade.webhook import Webhook, WebhookAttempt

# Both ways, made once: looking a name up costs more than the rest of a message.
_TOOL_CODES: dict[Tool, kinds_pb2.Tool.ValueType] = {tool: kinds_pb2.Tool.Value(f"TOOL_{tool.name}")
               for tool in Tool if tool is not Tool.NONE}  # fmt: skip
_TOOLS = {code: tool for tool, code in _TOOL_CODES.items()}
_TYPE_CODES = {kind: kinds_pb2.TradeType.Value(f"TRADE_TYPE_{kind.name}") for kind in TradeType}
_TYPES = {code: kind for kind, code in _TYPE_CODES.items()}
_STATE_CODES = {state: trade_pb2.Trade.State.Value(f"STATE_{state.name}") for state in TradeState}
_PAY_STATE_CODES = {
    state: trade_pb2.PaymentView.State.Value(f"STATE_{state.name}")
    for state in PayState if state is not PayState.NONE
}  # fmt: skip

_Pay = payment_pb2.Payment.State
_PAY_STATES = {
    _Pay.STATE_CREATED: PayState.PROCESSING,
    _Pay.STATE_PROCESSING: PayState.PROCESSING,
    _Pay.STATE_SUCCEEDED: PayState.SUCCEEDED,
    _Pay.STATE_FAILED: PayState.FAILED,
    _Pay.STATE_CLOSED: PayState.CLOSED,
    _Pay.STATE_REVIEW: PayState.REVIEW,
}

_Refund = payment_pb2.Refund.State
_REFUND_EVENTS = {
    _Refund.STATE_SUCCEEDED: RefundEvent.ARRIVED,
    _Refund.STATE_FAILED: RefundEvent.REFUSED,
    _Refund.STATE_REVIEW: RefundEvent.DOUBT,
}


def order_from_proto(new: pb.NewTrade) -> Order:
    """Return the record of `new`."""
    return Order(
        order_no=new.order_no,
        product_code=new.product_code,
        merchant_id=new.merchant_id,
        user_no=new.user_no,
        currency_code=new.amount.currency_code,
        amount_minor=new.amount.minor_units,
        subject=new.subject,
        fingerprint=fingerprint(new),
    )


def try_from_proto(request: pb.PayTradeRequest) -> Try:
    """Return the record of the try in `request`."""
    return Try(
        request_id=request.request_id,
        tool=tool_from_proto(request.tool),
        fingerprint=fingerprint(request),
    )


def tool_from_proto(tool: kinds_pb2.Tool.ValueType) -> Tool:
    """Return our name of `tool`."""
    return _TOOLS[tool]


def type_from_proto(kind: kinds_pb2.TradeType.ValueType) -> TradeType:
    """Return our name of `kind`."""
    return _TYPES[kind]


def policy_from_proto(policy: setup_pb2.FeeTerms.RefundPolicy.ValueType) -> FeePolicy:
    """Return our name of `policy`."""
    name = setup_pb2.FeeTerms.RefundPolicy.Name(policy)
    return FeePolicy[name.removeprefix("REFUND_POLICY_")]


def view_from_proto(payment: payment_pb2.Payment) -> PaymentView:
    """Return how the try stands by what payment says of it."""
    return PaymentView(
        payment_no=payment.payment_no,
        state=_PAY_STATES[payment.state],
        version=payment.version,
        qr_code=payment.qr_code,
        failure_reason=payment.failure_reason,
        review_kind=payment.review_kind,
        fee_minor=payment.fee_minor,
        tool=tool_from_proto(payment.tool) if payment.tool else Tool.NONE,
    )


def refund_event_of(refund: payment_pb2.Refund) -> RefundEvent | None:
    """Return what payment says happened to the refund; None while nothing has."""
    return _REFUND_EVENTS.get(refund.state)


def type_to_proto(kind: TradeType) -> kinds_pb2.TradeType.ValueType:
    """Return the contract's name of `kind`."""
    return _TYPE_CODES[kind]


def tool_to_proto(tool: Tool) -> kinds_pb2.Tool.ValueType:
    """Return the contract's name of `tool`."""
    return _TOOL_CODES[tool]


def app_to_proto(app: App) -> setup_pb2.App:
    """Return the message of `app`, which never carries the webhook secret."""
    return setup_pb2.App(
        app_id=app.app_id,
        business_code=app.business_code,
        name=app.name,
        webhook_url=app.webhook_url,
        create_time=to_timestamp(app.create_time),
    )


def merchant_to_proto(merchant: Merchant) -> setup_pb2.Merchant:
    """Return the message of `merchant`."""
    policy = f"REFUND_POLICY_{merchant.refund_policy.name}"
    return setup_pb2.Merchant(
        merchant_id=merchant.merchant_id,
        app_id=merchant.app_id,
        name=merchant.name,
        currency_codes=merchant.currency_codes,
        fee=setup_pb2.FeeTerms(
            rate_ppm=merchant.rate_ppm,
            least_minor=merchant.least_minor,
            refund_policy=setup_pb2.FeeTerms.RefundPolicy.Value(policy),
        ),
        create_time=to_timestamp(merchant.create_time),
    )


def product_to_proto(product: Product) -> setup_pb2.Product:
    """Return the message of `product`."""
    return setup_pb2.Product(
        product_code=product.product_code,
        type=type_to_proto(product.type),
        name=product.name,
        tools=[tool_to_proto(tool) for tool in product.tools],
        expiry_seconds=product.expiry_seconds,
        create_time=to_timestamp(product.create_time),
    )


def wallet_to_proto(wallet: Wallet, *, balance_minor: int) -> setup_pb2.Wallet:
    """Return the message of `wallet` with its balance."""
    return setup_pb2.Wallet(
        wallet_id=wallet.wallet_id,
        user_no=wallet.user_no,
        balance=money(wallet.currency_code, balance_minor),
        create_time=to_timestamp(wallet.create_time),
    )


def trade_to_proto(trade: Trade) -> trade_pb2.Trade:
    """Return the message of `trade`."""
    return trade_pb2.Trade(
        trade_no=trade.trade_no,
        app_id=trade.app_id,
        business_code=trade.business_code,
        order_no=trade.order_no,
        trace_no=trade.trace_no,
        type=type_to_proto(trade.type),
        product_code=trade.product_code,
        merchant_id=trade.merchant_id,
        user_no=trade.user_no,
        amount=money(trade.currency_code, trade.amount_minor),
        refunded_amount=money(trade.currency_code, trade.refunded_minor),
        subject=trade.subject,
        state=_STATE_CODES[trade.state],
        version=trade.version,
        payment_no=trade.held_payment_no,
        create_time=to_timestamp(trade.create_time),
        update_time=to_timestamp(trade.update_time),
        expire_time=to_timestamp(trade.expire_time),
    )


def try_to_proto(trade: Trade) -> payment_service_pb2.CreatePaymentItem:
    """Return the latest try as payment is asked to carry it out; always the same content."""
    return payment_service_pb2.CreatePaymentItem(
        payment_no=trade.payment_no,
        trade_no=trade.trade_no,
        business_code=trade.business_code,
        trade_type=type_to_proto(trade.type),
        tool=tool_to_proto(trade.pay_tool),
        amount=money(trade.currency_code, trade.amount_minor),
        merchant_id=trade.merchant_id,
        user_no=trade.user_no,
        fee_minor=trade.fee_minor,
        subject=trade.subject,
        product_code=trade.product_code,
    )


def payment_view_to_proto(trade: Trade) -> trade_pb2.PaymentView | None:
    """Return how the latest try stands; None when nobody has tried."""
    if trade.pay_state is PayState.NONE:
        return None
    view = trade_pb2.PaymentView(
        payment_no=trade.payment_no,
        tool=tool_to_proto(trade.pay_tool),
        state=_PAY_STATE_CODES[trade.pay_state],
        failure_reason="" if trade.held_payment_no else trade.failure_reason,
    )
    if trade.pay_state is PayState.PROCESSING and trade.qr_code:
        view.action.qr_code = trade.qr_code
    return view


def failed_view_to_proto(payment_no: str, tool: Tool) -> trade_pb2.PaymentView:
    """Return how a try stands that another one has followed: it failed, or none could have."""
    return trade_pb2.PaymentView(
        payment_no=payment_no,
        tool=tool_to_proto(tool),
        state=trade_pb2.PaymentView.STATE_FAILED,
    )


def refund_to_proto(refund: Refund) -> trade_pb2.Refund:
    """Return the message of `refund`."""
    return trade_pb2.Refund(
        refund_no=refund.refund_no,
        refund_order_no=refund.refund_order_no,
        trade_no=refund.trade_no,
        trace_no=refund.trace_no,
        amount=money(refund.currency_code, refund.amount_minor),
        cause=refund.cause,
        state=trade_pb2.Refund.State.Value(f"STATE_{refund.state.name}"),
        version=refund.version,
        failure_reason=refund.failure_reason if refund.state is RefundState.FAILED else "",
        create_time=to_timestamp(refund.create_time),
        update_time=to_timestamp(refund.update_time),
    )


def payload_of(
    kind: str, resource: trade_pb2.Trade | trade_pb2.Refund, *, number: str, time: datetime
) -> bytes:
    """Return the body of a webhook: the resource after the change, in protobuf's JSON."""
    stamp = to_timestamp(time).ToJsonString()
    content = {
        "id": f"{number}:{resource.version}",
        "type": kind,
        "time": stamp,
        "data": MessageToDict(resource),
    }
    return orjson.dumps(content)


def trade_to_trace(trade: Trade) -> trace_pb2.TraceEntry:
    """Return `trade` as one thing of its trace."""
    facts = {"type": trade.type.name, "product_code": trade.product_code}
    if trade.pay_state is not PayState.NONE:
        facts |= {"payment_no": trade.payment_no, "payment_state": trade.pay_state.name}
        facts |= {"tool": trade.pay_tool.name, "fee_minor": str(trade.fee_minor)}
    if trade.failure_reason:
        facts["failure_reason"] = trade.failure_reason
    if trade.closing and trade.is_closable:
        facts["closing"] = "true"
    if trade.refunded_minor:
        facts["refunded_minor"] = str(trade.refunded_minor)
        facts["fee_refunded_minor"] = str(trade.fee_refunded_minor)
    entry = trace_pb2.TraceEntry(
        service="trade",
        kind="trade",
        number=trade.trade_no,
        state=trade.state.name,
        amount=money(trade.currency_code, trade.amount_minor),
        create_time=to_timestamp(trade.create_time),
        update_time=to_timestamp(trade.update_time),
        facts=facts,
    )
    return _with_due(entry, trade.due_time)


def refund_to_trace(refund: Refund) -> trace_pb2.TraceEntry:
    """Return `refund` as one thing of its trace."""
    facts = {
        "refund_of": refund.trade_no,
        "payment_no": refund.payment_no,
        "refund_order_no": refund.refund_order_no,
        "fee_minor": str(refund.fee_minor),
    }
    if refund.failure_reason:
        facts["failure_reason"] = refund.failure_reason
    entry = trace_pb2.TraceEntry(
        service="trade",
        kind="refund",
        number=refund.refund_no,
        state=refund.state.name,
        amount=money(refund.currency_code, refund.amount_minor),
        create_time=to_timestamp(refund.create_time),
        update_time=to_timestamp(refund.update_time),
        facts=facts,
    )
    return _with_due(entry, refund.due_time)


def webhook_to_trace(webhook: Webhook) -> trace_pb2.TraceEntry:
    """Return `webhook` as one thing of its trace."""
    entry = trace_pb2.TraceEntry(
        service="trade",
        kind="webhook",
        number=webhook.webhook_id,
        state=webhook.state.name,
        create_time=to_timestamp(webhook.create_time),
        update_time=to_timestamp(webhook.update_time),
        facts={
            "id": f"{webhook.number}:{webhook.version}",
            "type": webhook.type,
            "tries": str(webhook.tries),
        },
    )
    return _with_due(entry, webhook.due_time)


def attempt_to_trace(attempt: WebhookAttempt) -> trace_pb2.TraceEntry:
    """Return `attempt` as one thing of its trace."""
    facts = {"webhook": attempt.webhook_id, "ms": str(attempt.ms)}
    if attempt.status:
        facts["status"] = str(attempt.status)
    if attempt.problem:
        facts["problem"] = attempt.problem
    return trace_pb2.TraceEntry(
        service="trade",
        kind="webhook_attempt",
        number=f"{attempt.webhook_id}/{attempt.attempt_id}",
        create_time=to_timestamp(attempt.create_time),
        update_time=to_timestamp(attempt.create_time),
        facts=facts,
    )


def _with_due(entry: trace_pb2.TraceEntry, due_time: datetime | None) -> trace_pb2.TraceEntry:
    if due_time is not None:
        entry.due_time.FromDatetime(due_time)
    return entry
