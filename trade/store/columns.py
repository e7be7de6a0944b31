"""The columns of each table that a record is made of, with their SQL types, and the way back."""

from __future__ import annotations

from collections.abc import Iterable

from mesh.db import Row
from trade.model import (
    App,
    FeePolicy,
    Merchant,
    Product,
    Refund,
    Tool,
    Trade,
    TradeType,
    Wallet,
)
from trade.states import PayState, RefundState, TradeState, WebhookState
from trade.webhook import Webhook, WebhookAttempt

APP = {
    "app_id": "text",
    "business_code": "text",
    "name": "text",
    "webhook_url": "text",
    "webhook_secret": "bytea",
    "create_time": "timestamptz",
}
MERCHANT = {
    "merchant_id": "text",
    "app_id": "text",
    "name": "text",
    "currency_codes": "text[]",
    "rate_ppm": "integer",
    "least_minor": "bigint",
    "refund_policy": "text",
    "create_time": "timestamptz",
}
PRODUCT = {
    "product_code": "text",
    "type": "text",
    "name": "text",
    "tools": "text[]",
    "expiry_seconds": "integer",
    "create_time": "timestamptz",
}
WALLET = {
    "wallet_id": "text",
    "app_id": "text",
    "user_no": "text",
    "currency_code": "text",
    "create_time": "timestamptz",
}
TRADE = {
    "trade_no": "text",
    "app_id": "text",
    "business_code": "text",
    "order_no": "text",
    "trace_no": "text",
    "type": "text",
    "product_code": "text",
    "merchant_id": "text",
    "user_no": "text",
    "currency_code": "text",
    "amount_minor": "bigint",
    "refunded_minor": "bigint",
    "fee_minor": "bigint",
    "fee_policy": "text",
    "fee_refunded_minor": "bigint",
    "subject": "text",
    "state": "text",
    "version": "bigint",
    "payment_no": "text",
    "pay_tool": "text",
    "pay_state": "text",
    "pay_version": "bigint",
    "qr_code": "text",
    "failure_reason": "text",
    "expire_time": "timestamptz",
    "due_time": "timestamptz",
    "tries": "integer",
    "closing": "boolean",
    "create_time": "timestamptz",
    "update_time": "timestamptz",
}
REFUND = {
    "refund_no": "text",
    "app_id": "text",
    "refund_order_no": "text",
    "trade_no": "text",
    "payment_no": "text",
    "trace_no": "text",
    "currency_code": "text",
    "amount_minor": "bigint",
    "fee_minor": "bigint",
    "cause": "text",
    "state": "text",
    "version": "bigint",
    "pay_version": "bigint",
    "failure_reason": "text",
    "due_time": "timestamptz",
    "tries": "integer",
    "create_time": "timestamptz",
    "update_time": "timestamptz",
}
WEBHOOK = {
    "webhook_id": "text",
    "app_id": "text",
    "trace_no": "text",
    "number": "text",
    "version": "bigint",
    "type": "text",
    "state": "text",
    "due_time": "timestamptz",
    "tries": "integer",
    "resends": "integer",
    "by_hand": "boolean",
    "create_time": "timestamptz",
    "update_time": "timestamptz",
}
WEBHOOK_ATTEMPT = {
    "attempt_id": "bigint",
    "webhook_id": "text",
    "try_no": "integer",
    "by_hand": "boolean",
    "status": "integer",
    "problem": "text",
    "ms": "integer",
    "create_time": "timestamptz",
}


def of(alias: str, columns: Iterable[str]) -> str:
    """Return the columns of the table `alias`, as a list for SELECT."""
    return ", ".join(f"{alias}.{column}" for column in columns)


def first_of(one: str, other: str, columns: Iterable[str]) -> str:
    """Return the columns of `one`, or of `other` where `one` has no row."""
    return ", ".join(f"coalesce({one}.{name}, {other}.{name}) AS {name}" for name in columns)


def app(row: Row) -> App | None:
    """Return the app in `row`; None when the row is empty."""
    if row.app_id is None:
        return None
    return App(
        app_id=row.app_id,
        business_code=row.business_code,
        name=row.name,
        webhook_url=row.webhook_url,
        webhook_secret=row.webhook_secret,
        create_time=row.create_time,
    )


def merchant(row: Row) -> Merchant | None:
    """Return the merchant in `row`; None when the row is empty."""
    if row.merchant_id is None:
        return None
    return Merchant(
        merchant_id=row.merchant_id,
        app_id=row.app_id,
        name=row.name,
        currency_codes=tuple(row.currency_codes),
        rate_ppm=row.rate_ppm,
        least_minor=row.least_minor,
        refund_policy=FeePolicy(row.refund_policy),
        create_time=row.create_time,
    )


def product(row: Row) -> Product | None:
    """Return the product in `row`; None when the row is empty."""
    if row.product_code is None:
        return None
    return Product(
        product_code=row.product_code,
        type=TradeType(row.type),
        name=row.name,
        tools=tuple(Tool(tool) for tool in row.tools),
        expiry_seconds=row.expiry_seconds,
        create_time=row.create_time,
    )


def wallet(row: Row) -> Wallet | None:
    """Return the wallet in `row`; None when the row is empty."""
    if row.wallet_id is None:
        return None
    return Wallet(
        wallet_id=row.wallet_id,
        app_id=row.app_id,
        user_no=row.user_no,
        currency_code=row.currency_code,
        create_time=row.create_time,
    )


def trade(row: Row) -> Trade | None:
    """Return the trade in `row`; None when the row is empty."""
    if row.trade_no is None:
        return None
    return Trade(
        trade_no=row.trade_no,
        app_id=row.app_id,
        business_code=row.business_code,
        order_no=row.order_no,
        trace_no=row.trace_no,
        type=TradeType(row.type),
        product_code=row.product_code,
        merchant_id=row.merchant_id,
        user_no=row.user_no,
        currency_code=row.currency_code,
        amount_minor=row.amount_minor,
        refunded_minor=row.refunded_minor,
        fee_minor=row.fee_minor,
        fee_policy=FeePolicy(row.fee_policy),
        fee_refunded_minor=row.fee_refunded_minor,
        subject=row.subject,
        state=TradeState(row.state),
        version=row.version,
        payment_no=row.payment_no,
        pay_tool=Tool(row.pay_tool),
        pay_state=PayState(row.pay_state),
        pay_version=row.pay_version,
        qr_code=row.qr_code,
        failure_reason=row.failure_reason,
        expire_time=row.expire_time,
        due_time=row.due_time,
        tries=row.tries,
        closing=row.closing,
        create_time=row.create_time,
        update_time=row.update_time,
    )


def refund(row: Row) -> Refund | None:
    """Return the refund in `row`; None when the row is empty."""
    if row.refund_no is None:
        return None
    return Refund(
        refund_no=row.refund_no,
        app_id=row.app_id,
        refund_order_no=row.refund_order_no,
        trade_no=row.trade_no,
        payment_no=row.payment_no,
        trace_no=row.trace_no,
        currency_code=row.currency_code,
        amount_minor=row.amount_minor,
        fee_minor=row.fee_minor,
        cause=row.cause,
        state=RefundState(row.state),
        version=row.version,
        pay_version=row.pay_version,
        failure_reason=row.failure_reason,
        due_time=row.due_time,
        tries=row.tries,
        create_time=row.create_time,
        update_time=row.update_time,
    )


def webhook(row: Row) -> Webhook:
    """Return the webhook in `row`, without its payload."""
    return Webhook(
        webhook_id=row.webhook_id,
        app_id=row.app_id,
        trace_no=row.trace_no,
        number=row.number,
        version=row.version,
        type=row.type,
        state=WebhookState(row.state),
        due_time=row.due_time,
        tries=row.tries,
        resends=row.resends,
        by_hand=row.by_hand,
        create_time=row.create_time,
        update_time=row.update_time,
    )


def webhook_attempt(row: Row) -> WebhookAttempt:
    """Return the attempt in `row`."""
    return WebhookAttempt(
        attempt_id=row.attempt_id,
        webhook_id=row.webhook_id,
        try_no=row.try_no,
        by_hand=row.by_hand,
        status=row.status,
        problem=row.problem,
        ms=row.ms,
        create_time=row.create_time,
    )
