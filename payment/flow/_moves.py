"""How an order moves: the row, the event that tells it and the case, in one statement."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from google.protobuf.message import Message

from mesh.events import pack
from mesh.numbers import new_id
from payment.desk import Desk
from payment.model import Attempt, Case, CaseKind, Payment, Refund, case_deadline
from payment.states import PaymentState, RefundState
from payment.store import payment as payments
from payment.store import refund as refunds
from payment.wire import payment_to_proto, refund_to_proto
from tongbao.payment.v1 import events_pb2


async def move_payment(
    desk: Desk, *, before: Payment, after: Payment, case: Case | None = None
) -> bool:
    """Bring the payment from `before` to `after`; False when somebody moved it first."""
    event = _payment_event(after) if after.state is not before.state else None
    return await payments.move_payment(
        desk.db, after, event=_packed(event, after.payment_no, after), case=case
    )


async def move_refund(
    desk: Desk, *, before: Refund, after: Refund, case: Case | None = None
) -> bool:
    """Bring the refund from `before` to `after`; False when somebody moved it first.

    A refund that fails gives its amount back to the payment. One that is under review keeps
    or lacks it as it did before: what becomes of it is a person's to say.
    """
    event = _refund_event(after) if after.state is not before.state else None
    return await refunds.move_refund(
        desk.db,
        after,
        releases=before.due_time is not None and after.state is RefundState.FAILED,
        event=_packed(event, after.refund_no, after),
        case=case,
    )


def new_case(
    kind: CaseKind,
    *,
    number: str,
    app_id: str,
    trace_no: str,
    facts: Mapping[str, str],
    now: datetime,
) -> Case:
    """Return a case that opens `now`, about the order or attempt `number`."""
    return Case(
        case_id=new_id("cas"),
        kind=kind,
        number=number,
        app_id=app_id,
        trace_no=trace_no,
        facts=facts,
        deadline=case_deadline(now),
        create_time=now,
        update_time=now,
    )


def conflict(
    attempt: Attempt, order: Payment | Refund, *, kind: CaseKind | None, now: datetime
) -> Case | None:
    """Return the case of `attempt` not fitting `order`; None when there is none."""
    if kind is None:
        return None
    # Each further charge is a case of its own, beside the order that is as it should be.
    again = kind is CaseKind.DUPLICATE_SUCCESS
    return new_case(
        kind,
        number=attempt.attempt_no if again else attempt.number,
        app_id=order.app_id,
        trace_no=order.trace_no,
        facts=attempt.facts(order),
        now=now,
    )


def _payment_event(payment: Payment) -> Message | None:
    message = payment_to_proto(payment)
    match payment.state:
        case PaymentState.SUCCEEDED:
            return events_pb2.PaymentSucceeded(payment=message)
        case PaymentState.FAILED | PaymentState.CLOSED:
            return events_pb2.PaymentFailed(payment=message)
        case PaymentState.REVIEW:
            return events_pb2.PaymentReviewed(payment=message)
        case _:
            return None


def _refund_event(refund: Refund) -> Message | None:
    message = refund_to_proto(refund)
    match refund.state:
        case RefundState.SUCCEEDED:
            return events_pb2.RefundSucceeded(refund=message)
        case RefundState.FAILED:
            return events_pb2.RefundFailed(refund=message)
        case _:
            return None


def _packed(event: Message | None, number: str, order: Payment | Refund) -> bytes:
    if event is None:
        return b""
    return pack(
        event,
        number=number,
        version=order.version,
        app_id=order.app_id,
        trace_no=order.trace_no,
        time=order.update_time,
    )
