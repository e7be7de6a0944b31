"""A new trade, and a try to pay one, as they are about to be written."""

from __future__ import annotations

from datetime import datetime, timedelta

from mesh.numbers import Kind
from mesh.records import replace
from trade.desk import Desk
from trade.fee import fee_of
from trade.model import (
    App,
    FeePolicy,
    Merchant,
    Order,
    Product,
    Tool,
    Trade,
    look_again,
    trace_of,
)
from trade.states import TRADE, PayState, TradeEvent


def new_trade(desk: Desk, app: App, order: Order, *, product: Product) -> Trade:
    """Return the trade that `order` becomes: nobody has tried to pay it."""
    now = desk.clock.now()
    return Trade(
        trade_no=desk.numbers.next(Kind.TRADE),
        app_id=app.app_id,
        business_code=app.business_code,
        order_no=order.order_no,
        trace_no=trace_of(app.business_code, order.order_no),
        type=product.type,
        product_code=product.product_code,
        merchant_id=order.merchant_id,
        user_no=order.user_no,
        currency_code=order.currency_code,
        amount_minor=order.amount_minor,
        refunded_minor=0,
        fee_minor=0,
        fee_policy=FeePolicy.KEEP,
        fee_refunded_minor=0,
        subject=order.subject,
        state=TRADE.initial,
        version=1,
        payment_no="",
        pay_tool=Tool.NONE,
        pay_state=PayState.NONE,
        pay_version=0,
        qr_code="",
        failure_reason="",
        expire_time=now + timedelta(seconds=product.expiry_seconds),
        due_time=now + timedelta(seconds=product.expiry_seconds),
        tries=0,
        closing=False,
        create_time=now,
        update_time=now,
    )


def begin_try(
    trade: Trade, merchant: Merchant | None, *, tool: Tool, payment_no: str, now: datetime
) -> Trade:
    """Return `trade` with a try under way and its fee as the merchant's terms are now.

    A recharge has no merchant and no fee.
    """
    fee_minor, policy = 0, FeePolicy.KEEP
    if merchant is not None:
        policy = merchant.refund_policy
        fee_minor = fee_of(
            trade.amount_minor, rate_ppm=merchant.rate_ppm, least_minor=merchant.least_minor
        )
    return replace(
        trade,
        state=TRADE.next(TRADE.initial, TradeEvent.PAY),
        fee_minor=fee_minor,
        fee_policy=policy,
        payment_no=payment_no,
        pay_tool=tool,
        pay_state=PayState.PROCESSING,
        due_time=look_again(now, tries=0),
    )
