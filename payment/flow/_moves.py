"""How an order moves: the row, the event that tells it and the case, in one statement."""

from __future__ import annotations

from google.protobuf.message import Message

from mesh.events import pack
from payment.case import Case, GiveBack
from payment.desk import Desk
from payment.model import Payment, Refund
from payment.states import GiveBackState, PaymentState, RefundState
from payment.store import give_back as give_backs
from payment.store import payment as payments
from payment.store import refund as refunds
from payment.store.payment import Moved
from payment.wire import payment_to_proto, refund_to_proto
from payment.wire_case import give_back_to_proto
from tongbao.payment.v1 import events_pb2


async def move_payment(
    desk: Desk, *, before: Payment, after: Payment, case: Case | None = None
) -> bool:
    """Bring the payment from `before` to `after`; False when it was not done."""
    return await try_payment(desk, before=before, after=after, case=case) is Moved.DONE


async def try_payment(
    desk: Desk, *, before: Payment, after: Payment, case: Case | None = None
) -> Moved:
    """Bring the payment from `before` to `after`, and say what became of that."""
    event = _payment_event(after) if after.state is not before.state else None
    return await payments.move_payment(
        desk.db, after, event=_packed(event, after.payment_no, after), case=case
    )


async def say_again(desk: Desk, payment: Payment) -> None:
    """Tell once more what became of `payment`, for whoever came to it only now.

    Under the next version, because an event is never told twice. Nothing happens when somebody
    moves it at this moment: that move is told anyway.
    """
    after = payment.said_again(now=desk.clock.now())
    event = _packed(_payment_event(after), after.payment_no, after)
    await payments.move_payment(desk.db, after, event=event)


async def move_refund(
    desk: Desk, *, before: Refund, after: Refund, case: Case | None = None
) -> bool:
    """Bring the refund from `before` to `after`; False when somebody moved it first.

    A refund that fails gives its amount back to the payment, also when it failed only after a
    person had looked at it. One that is under review keeps or lacks it as it did before.
    """
    event = _refund_event(after) if after.state is not before.state else None
    return await refunds.move_refund(
        desk.db,
        after,
        releases=after.state is RefundState.FAILED,
        event=_packed(event, after.refund_no, after),
        case=case,
    )


async def move_give_back(
    desk: Desk, *, before: GiveBack, after: GiveBack, case: Case | None = None
) -> bool:
    """Bring the give-back from `before` to `after`; False when somebody moved it first."""
    event = _give_back_event(before, after) if after.state is not before.state else None
    return await give_backs.move_give_back(
        desk.db, after, event=_packed(event, after.give_back_no, after), case=case
    )


def duplicated(event: events_pb2.ChargeDuplicated, payment: Payment) -> bytes:
    """Return the event of a further charge, which is told under that charge's number."""
    return pack(
        event,
        number=event.attempt_no,
        version=1,
        app_id=payment.app_id,
        trace_no=payment.trace_no,
        time=payment.update_time,
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
        case RefundState.REVIEW:
            return events_pb2.RefundReviewed(refund=message)
        case _:
            return None


def _give_back_event(before: GiveBack, after: GiveBack) -> Message | None:
    """Return what is told. Of one that was declined nothing is booked, so nothing is told."""
    message = give_back_to_proto(after)
    match after.state:
        case GiveBackState.SUCCEEDED:
            return events_pb2.GiveBackSucceeded(give_back=message)
        case GiveBackState.FAILED if before.state is GiveBackState.PROCESSING:
            return events_pb2.GiveBackFailed(give_back=message)
        case GiveBackState.REVIEW:
            return events_pb2.GiveBackReviewed(give_back=message)
        case _:
            return None


def _packed(event: Message | None, number: str, order: Payment | Refund | GiveBack) -> bytes:
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
