"""What this service does unasked: event → flow. It has no timers.

A payment under review (PaymentReviewed) keeps its reservation, so that event is not here.
"""

from __future__ import annotations

from collections.abc import Mapping

from google.protobuf.message import Message

from mesh.inbox import Handler, Only
from risk.desk import Desk
from risk.flow.confirm_reservation import confirm_reservation
from risk.flow.release_reservation import release_reservation
from tongbao.payment.v1 import events_pb2

PaymentEvent = events_pb2.PaymentSucceeded | events_pb2.PaymentFailed


def _may_hold(desk: Desk, event: PaymentEvent) -> bool:
    """Return whether the payment may have something reserved, as far as we remember."""
    return not desk.is_idle(event.payment.payment_no)


EVENTS: Mapping[str, Mapping[type[Message], Handler[Desk]]] = {
    "payment": {
        events_pb2.PaymentSucceeded: Only(_may_hold, confirm_reservation),
        events_pb2.PaymentFailed: Only(_may_hold, release_reservation),
    },
}
