"""List what payment has of a trace."""

from __future__ import annotations

from collections.abc import Sequence

from payment.desk import Desk
from payment.model import CaseState
from payment.store.case import list_cases
from payment.store.payment import list_payments
from payment.store.refund import list_refunds
from payment.wire import case_to_trace, payment_to_trace, refund_to_trace
from tongbao.common.v1 import trace_pb2


async def list_trace_entries(
    desk: Desk, *, app_id: str, trace_no: str
) -> Sequence[trace_pb2.TraceEntry]:
    """Return payments, refunds and cases of the trace, oldest first; empty when none."""
    payments = await list_payments(desk.db, app_id=app_id, trace_no=trace_no)
    refunds = await list_refunds(desk.db, app_id=app_id, trace_no=trace_no)
    cases = await list_cases(desk.db, app_id=app_id, trace_no=trace_no)
    deadlines = {one.number: one.deadline for one in cases if one.state is CaseState.OPEN}
    entries = [
        *(payment_to_trace(one, deadline=deadlines.get(one.payment_no)) for one in payments),
        *(refund_to_trace(one, deadline=deadlines.get(one.refund_no)) for one in refunds),
        *(case_to_trace(one) for one in cases),
    ]
    return sorted(entries, key=lambda entry: entry.create_time.ToNanoseconds())
