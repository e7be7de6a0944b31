"""Confirm: the payer was charged, so what was reserved counts for good."""

from __future__ import annotations

from risk import store
from risk.desk import Desk
from risk.states import DECISION, Event, State
from tongbao.payment.v1 import events_pb2


async def confirm_reservation(desk: Desk, event: events_pb2.PaymentSucceeded) -> None:
    """Confirm what the payment reserved. Does nothing when nothing is reserved any more.

    A reservation that was released stays released, until a person accepts the payment: then
    it counts again on its day, even above the limit. The limit is a brake, the money is the
    ledger's.
    """
    payment = event.payment
    target = DECISION.next(State.RESERVED, Event.SUCCEEDED)
    await store.end_reservation(
        desk.db,
        app_id=payment.app_id,
        payment_no=payment.payment_no,
        state=target,
        resolved=bool(payment.review_kind),
    )
