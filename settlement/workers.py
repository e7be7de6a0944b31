"""What this service does unasked: event → flow. It has no timers."""

from __future__ import annotations

from collections.abc import Mapping

from google.protobuf.message import Message

from mesh.inbox import Handler, Only
from settlement.desk import Desk
from settlement.flow.cancel_item import cancel_item
from settlement.flow.clear_payment import clear_payment
from settlement.flow.clear_refund import clear_refund
from settlement.flow.hold_item import hold_item
from tongbao.payment.v1 import events_pb2


def _was_reviewed(_: Desk, event: events_pb2.PaymentFailed) -> bool:
    return bool(event.payment.review_kind)


EVENTS: Mapping[str, Mapping[type[Message], Handler[Desk]]] = {
    "payment": {
        events_pb2.PaymentSucceeded: clear_payment,
        events_pb2.PaymentReviewed: hold_item,
        events_pb2.PaymentFailed: Only(_was_reviewed, cancel_item),
        events_pb2.RefundSucceeded: clear_refund,
        events_pb2.RefundReviewed: hold_item,
        events_pb2.RefundFailed: cancel_item,
    },
}
