"""What this service does unasked: events of its neighbours, and what is due."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import structlog
from google.protobuf.message import Message

from mesh.batch import NotExecuted, Rejected, Undone, Unknown
from mesh.context import acting
from mesh.db import Row
from mesh.due import Due
from mesh.inbox import Handler
from mesh.telemetry import CASES_OVERDUE
from payment.case import CaseKind, RefusedPosting, is_give_back
from payment.desk import Desk
from payment.flow.apply_give_back_result import apply_give_back_result
from payment.flow.apply_refund_result import apply_refund_result
from payment.flow.apply_result import apply_result
from payment.flow.record_posting_refused import record_posting_refused
from payment.flow.resume_case import resume_case
from payment.flow.resume_payment import resume_payment
from payment.flow.resume_refund import resume_refund
from payment.store.case_list import count_overdue
from payment.wire import attempt_from_proto
from tongbao.channel.v1 import attempt_pb2
from tongbao.channel.v1 import events_pb2 as channel_events
from tongbao.ledger.v1 import events_pb2 as ledger_events

COUNT_SECONDS = 30

log = structlog.get_logger()

AttemptEvent = (
    channel_events.AttemptSucceeded | channel_events.AttemptFailed | channel_events.AttemptReviewed
)


async def on_attempt(desk: Desk, event: AttemptEvent) -> None:
    """Apply what channel says of a leg to the payment, refund or give-back of that number."""
    attempt = attempt_from_proto(event.attempt)
    if is_give_back(attempt.number):
        kept = await apply_give_back_result(desk, attempt=attempt)
        await resume_case(desk, case_id=kept.case_id)
    elif event.attempt.operation == attempt_pb2.OPERATION_REFUND:
        await apply_refund_result(desk, attempt=attempt)
    else:
        await apply_result(desk, attempt=attempt)


async def on_posting_refused(desk: Desk, event: ledger_events.PostingRefused) -> None:
    """Open a case for money that its own accounts refused."""
    posting = event.posting
    refused = RefusedPosting(
        template=posting.template,
        source_no=posting.source_no,
        app_id=acting().app_id,
        trace_no=posting.trace_no,
        channel_code=posting.channel_code,
        currency_code=posting.amount.currency_code,
        amount_minor=posting.amount.minor_units,
        refusal=event.refusal,
    )
    await record_posting_refused(desk, refused=refused)


async def count_cases(desk: Desk) -> None:
    """Show how many cases are past their deadline, until cancelled."""
    while True:
        try:
            counts = await count_overdue(desk.db, now=desk.clock.now())
        except (NotExecuted, Undone, Unknown, Rejected) as error:
            log.warning("cases_not_counted", problem=str(error))
        else:
            for kind in CaseKind:
                CASES_OVERDUE.labels(kind.value).set(counts.get(kind.value, 0))
        await asyncio.sleep(COUNT_SECONDS)


async def _resume_case(desk: Desk, row: Row) -> None:
    await resume_case(desk, case_id=row.case_id)


async def _resume_payment(desk: Desk, row: Row) -> None:
    await resume_payment(desk, app_id=row.app_id, payment_no=row.payment_no)


async def _resume_refund(desk: Desk, row: Row) -> None:
    await resume_refund(desk, app_id=row.app_id, refund_no=row.refund_no)


EVENTS: Mapping[str, Mapping[type[Message], Handler[Desk]]] = {
    "channel": {
        channel_events.AttemptSucceeded: on_attempt,
        channel_events.AttemptFailed: on_attempt,
        channel_events.AttemptReviewed: on_attempt,
    },
    "ledger": {ledger_events.PostingRefused: on_posting_refused},
}

DUE = [
    Due(
        name="payment",
        table="payment",
        key="payment_no",
        columns=("payment_no", "app_id", "trace_no"),
        handle=_resume_payment,
    ),
    Due(
        name="refund",
        table="refund",
        key="refund_no",
        columns=("refund_no", "app_id", "trace_no"),
        handle=_resume_refund,
    ),
    Due(
        name="case",
        table="exception_case",
        key="case_id",
        columns=("case_id", "app_id", "trace_no"),
        handle=_resume_case,
    ),
]
