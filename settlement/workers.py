"""What this service does unasked: event → flow. It has no timers."""

from __future__ import annotations

from collections.abc import Mapping

from google.protobuf.message import Message

from mesh.inbox import Handler
from settlement.desk import Desk
from settlement.flow.clear_payment import clear_payment
from settlement.flow.clear_refund import clear_refund
from tongbao.payment.v1 import events_pb2

EVENTS: Mapping[str, Mapping[type[Message], Handler[Desk]]] = {
    "payment": {
        events_pb2.PaymentSucceeded: clear_payment,
        events_pb2.RefundSucceeded: clear_refund,
    },
}
