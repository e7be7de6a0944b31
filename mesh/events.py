"""Events on their way out: one pack per statement, without knowing the neighbours."""

from __future__ import annotations

from datetime import datetime

from google.protobuf.message import Message

from mesh.clock import to_timestamp
from mesh.context import acting
from tongbao.common.v1 import event_pb2


def pack(
    event: Message, *, number: str, version: int, app_id: str, trace_no: str, time: datetime
) -> bytes:
    """Return the bytes of an EventBatch that holds `event` alone.

    Protobuf joins repeated fields when messages are concatenated, so a statement makes one
    batch of many by string_agg: it packs exactly the rows it wrote and parses nothing.
    """
    one = event_pb2.Event(
        event_id=f"{number}:{version}",
        type=event.DESCRIPTOR.full_name,
        number=number,
        version=version,
        app_id=app_id,
        trace_no=trace_no,
        traceparent=acting().traceparent,
        time=to_timestamp(time),
        payload=event.SerializeToString(),
    )
    return event_pb2.EventBatch(events=[one]).SerializeToString()
