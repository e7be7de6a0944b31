"""Release: the payer was certainly not charged, so the limit gets its amount back."""

from __future__ import annotations

from risk import store
from risk.desk import Desk
from risk.states import DECISION, Event, State
from tongbao.payment.v1 import events_pb2


async def release_reservation(desk: Desk, event: events_pb2.PaymentFailed) -> None:
    """Give back what the payment reserved, once, however often the event comes.

    What was confirmed stays so, until a person has given the payment back.
    """
    payment = event.payment
    target = DECISION.next(State.RESERVED, Event.FAILED)
    await store.end_reservation(
        desk.db,
        app_id=payment.app_id,
        payment_no=payment.payment_no,
        state=target,
        resolved=bool(payment.review_kind),
    )
