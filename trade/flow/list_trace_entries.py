"""List what trade itself has of a trace: the trade, its refunds, its webhooks and their tries."""

from __future__ import annotations

from tongbao.common.v1 import trace_pb2
from trade.desk import Desk
from trade.model import App
from trade.store.trace import find_trace
from trade.wire import attempt_to_trace, refund_to_trace, trade_to_trace, webhook_to_trace


async def list_trace_entries(desk: Desk, app: App, *, order_no: str) -> list[trace_pb2.TraceEntry]:
    """Return the entries of the app's order, kind by kind; none when there is no such order."""
    trace = await find_trace(desk.db, app, order_no=order_no)
    if trace is None:
        return []
    return [
        trade_to_trace(trace.trade),
        *(refund_to_trace(refund) for refund in trace.refunds),
        *(webhook_to_trace(webhook) for webhook in trace.webhooks),
        *(attempt_to_trace(attempt) for attempt in trace.attempts),
    ]
