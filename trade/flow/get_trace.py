"""Get a trace: everything that belongs to an order, from all services, in time order."""

from __future__ import annotations

import asyncio

from mesh.context import acting, note
from tongbao.common.v1 import options_pb2, trace_pb2
from tongbao.trade.v1 import reasons_pb2 as reasons
from trade.desk import Desk
from trade.flow.list_trace_entries import list_trace_entries
from trade.model import refuse

# Whose entry comes first when two are of the same moment.
ORDER = ("trade", "risk", "payment", "channel", "ledger", "settlement")


async def get_trace(desk: Desk, *, trace_no: str) -> list[trace_pb2.TraceEntry]:
    """Return the entries, oldest first. Apps see their own traces, operators all of them.

    Raises Refused(TRACE_NOT_FOUND); NotExecuted when a neighbour is silent, because a trace
    with a gap would look like one where nothing happened; Declined when one of them cannot tell
    its part before something is mended, as the ledger with a file of the past missing.
    """
    business_code, _, order_no = trace_no.partition("-")
    app = await desk.directory.app_of(business_code)
    is_operator = acting().role == options_pb2.ROLE_OPERATOR
    if app is None or not (is_operator or app.app_id == acting().app_id):
        raise refuse(reasons.REASON_TRACE_NOT_FOUND, trace_no=trace_no)
    own = await list_trace_entries(desk, app, order_no=order_no)
    if not own:
        raise refuse(reasons.REASON_TRACE_NOT_FOUND, trace_no=trace_no)
    note(trace_no=trace_no)
    others = await asyncio.gather(
        *(
            link.ask(app_id=app.app_id, trace_no=trace_no, since=own[0].create_time)
            for link in desk.traces.values()
        )
    )
    entries = [*own, *(entry for part in others for entry in part)]
    return sorted(entries, key=_place)


def _place(entry: trace_pb2.TraceEntry) -> tuple[int, int]:
    return entry.create_time.ToNanoseconds(), ORDER.index(entry.service)
