"""List what the ledger has of a trace."""

from __future__ import annotations

from ledger.desk import Desk
from ledger.store import report
from ledger.wire import entry_to_trace, voucher_to_trace
from tongbao.common.v1 import trace_pb2


async def list_trace_entries(
    desk: Desk, *, app_id: str, trace_no: str
) -> list[trace_pb2.TraceEntry]:
    """Return the app's vouchers, each followed by its entries, in the order of booking."""
    listed = []
    for voucher, entries in await report.trace(desk.db, app_id=app_id, trace_no=trace_no):
        listed.append(voucher_to_trace(voucher))
        listed += [entry_to_trace(entry) for entry in entries]
    return listed
