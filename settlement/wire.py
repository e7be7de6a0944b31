"""The service's records as its contract spells them, and the events it reads."""

from __future__ import annotations

from mesh.clock import to_timestamp
from mesh.wire import money
from settlement.model import ClearingItem, Entry, Kind
from tongbao.common.v1 import trace_pb2
from tongbao.payment.v1 import payment_pb2


def item_of_payment(payment: payment_pb2.Payment) -> ClearingItem:
    """Return what a payment that succeeded means. Fee and cost are copied, never computed."""
    return ClearingItem(
        source_no=payment.payment_no,
        kind=Kind.PAYMENT,
        app_id=payment.app_id,
        trace_no=payment.trace_no,
        trade_no=payment.trade_no,
        merchant_id=payment.merchant_id,
        currency_code=payment.amount.currency_code,
        gross_minor=payment.amount.minor_units,
        fee_minor=payment.fee_minor,
        cost_minor=payment.cost_minor,
    )


def item_of_refund(refund: payment_pb2.Refund) -> ClearingItem:
    """Return what a refund that succeeded means: the same amounts in the other sense."""
    return ClearingItem(
        source_no=refund.refund_no,
        kind=Kind.REFUND,
        app_id=refund.app_id,
        trace_no=refund.trace_no,
        trade_no=refund.trade_no,
        merchant_id=refund.merchant_id,
        currency_code=refund.amount.currency_code,
        gross_minor=refund.amount.minor_units,
        fee_minor=refund.fee_minor,
        cost_minor=0,
    )


def entry_to_trace(entry: Entry) -> trace_pb2.TraceEntry:
    """Return `entry` as one thing of its trace."""
    return trace_pb2.TraceEntry(
        service="settlement",
        kind="clearing_item",
        number=entry.source_no,
        state=entry.state.name,
        amount=money(entry.currency_code, entry.gross_minor),
        create_time=to_timestamp(entry.create_time),
        update_time=to_timestamp(entry.update_time),
        facts={
            "clears": entry.kind,
            "merchant_id": entry.merchant_id,
            "fee_minor": str(entry.fee_minor),
            "cost_minor": str(entry.cost_minor),
            "net_minor": str(entry.net_minor),
        },
    )
