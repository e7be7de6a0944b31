"""List what payment has of a trace."""

from __future__ import annotations

from collections.abc import Sequence

from payment.desk import Desk
from payment.states import CaseState
from payment.store.case import list_cases
from payment.store.give_back import list_give_backs
from payment.store.payment import list_payments
from payment.store.refund import list_refunds
from payment.wire import payment_to_trace, refund_to_trace
from payment.wire_case import case_to_trace, give_back_to_trace
from tongbao.common.v1 import trace_pb2


async def list_trace_entries(
    desk: Desk, *, app_id: str, trace_no: str
) -> Sequence[trace_pb2.TraceEntry]:
    """Return payments, refunds, give-backs and cases of the trace, oldest first."""
    payments = await list_payments(desk.db, app_id=app_id, trace_no=trace_no)
    refunds = await list_refunds(desk.db, app_id=app_id, trace_no=trace_no)
    cases = await list_cases(desk.db, app_id=app_id, trace_no=trace_no)
    give_backs = await list_give_backs(desk.db, app_id=app_id, trace_no=trace_no)
    # What is under review is looked at when its case is, by its timer or by a person.
    waiting = [one for one in cases if one.state is not CaseState.RESOLVED]
    deadlines = {one.number: one.due_time or one.deadline for one in waiting}
    timers = {one.case_id: one.due_time or one.deadline for one in waiting}
    entries = [
        *(payment_to_trace(one, deadline=deadlines.get(one.payment_no)) for one in payments),
        *(refund_to_trace(one, deadline=deadlines.get(one.refund_no)) for one in refunds),
        *(give_back_to_trace(one, due_time=timers.get(one.case_id)) for one in give_backs),
        *(case_to_trace(one) for one in cases),
    ]
    return sorted(entries, key=lambda entry: entry.create_time.ToNanoseconds())
