"""What this service does unasked: event → flow, timer → flow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from google.protobuf.message import Message

from mesh.db import Row
from mesh.due import Due
from mesh.inbox import Handler, Only
from tongbao.ledger.v1 import events_pb2 as ledger
from tongbao.payment.v1 import events_pb2 as payment
from trade.desk import Desk
from trade.flow.apply_payment import apply_payment
from trade.flow.apply_refund import apply_refund
from trade.flow.apply_voucher import RECHARGES, apply_voucher
from trade.flow.deliver_webhook import deliver_webhook
from trade.flow.resume_refund import resume_refund
from trade.flow.resume_trade import resume_trade
from trade.store.columns import WEBHOOK, webhook

PaymentEvent = payment.PaymentSucceeded | payment.PaymentFailed | payment.PaymentReviewed
RefundEvent = payment.RefundSucceeded | payment.RefundFailed | payment.RefundReviewed


async def _on_payment(desk: Desk, event: PaymentEvent) -> None:
    await apply_payment(desk, event.payment)


async def _on_refund(desk: Desk, event: RefundEvent) -> None:
    await apply_refund(desk, event.refund)


def _is_recharge(_: Desk, event: ledger.VoucherPosted) -> bool:
    return event.voucher.template in RECHARGES


async def _on_voucher(desk: Desk, event: ledger.VoucherPosted) -> None:
    await apply_voucher(desk, event.voucher)


async def _on_due_trade(desk: Desk, row: Row) -> None:
    await resume_trade(desk, app_id=row.app_id, trade_no=row.trade_no)


async def _on_due_refund(desk: Desk, row: Row) -> None:
    await resume_refund(desk, app_id=row.app_id, refund_no=row.refund_no)


async def _on_due_webhook(desk: Desk, row: Row) -> None:
    await deliver_webhook(desk, webhook(row), payload=row.payload)


EVENTS: Mapping[str, Mapping[type[Message], Handler[Desk]]] = {
    "payment": {
        payment.PaymentSucceeded: _on_payment,
        payment.PaymentFailed: _on_payment,
        payment.PaymentReviewed: _on_payment,
        payment.RefundSucceeded: _on_refund,
        payment.RefundFailed: _on_refund,
        payment.RefundReviewed: _on_refund,
    },
    "ledger": {
        ledger.VoucherPosted: Only(_is_recharge, _on_voucher),
    },
}

DUE: Sequence[Due[Desk]] = (
    Due(
        name="trade",
        table="trade",
        key="trade_no",
        columns=("trade_no", "app_id", "trace_no"),
        handle=_on_due_trade,
    ),
    Due(
        name="refund",
        table="refund",
        key="refund_no",
        columns=("refund_no", "app_id", "trace_no"),
        handle=_on_due_refund,
    ),
    Due(
        name="webhook",
        table="webhook",
        key="webhook_id",
        columns=(*WEBHOOK, "payload"),
        handle=_on_due_webhook,
    ),
)
