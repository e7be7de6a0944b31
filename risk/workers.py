"""What this service does unasked: event → flow. It has no timers.

A payment under review (PaymentReviewed) keeps its reservation, so that event is not here.
"""

from __future__ import annotations

from collections.abc import Mapping

from google.protobuf.message import Message

from mesh.inbox import Handler
from risk.desk import Desk
from risk.flow.confirm_reservation import confirm_reservation
from risk.flow.release_reservation import release_reservation
from tongbao.payment.v1 import events_pb2

EVENTS: Mapping[str, Mapping[type[Message], Handler[Desk]]] = {
    "payment": {
        events_pb2.PaymentSucceeded: confirm_reservation,
        events_pb2.PaymentFailed: release_reservation,
    },
}
