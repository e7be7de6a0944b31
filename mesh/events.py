"""Events on their way out: one pack per statement, without knowing the neighbours."""

from __future__ import annotations

from datetime import datetime
from io import BytesIO

from google.protobuf.message import Message
from google.protobuf.proto import serialize_length_prefixed

from mesh.clock import to_timestamp
from mesh.context import acting
from tongbao.common.v1 import event_pb2

_EVENTS_TAG = bytes([event_pb2.EventBatch.EVENTS_FIELD_NUMBER << 3 | 2])  # 2: it has a length.


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
    batch = BytesIO()  # As EventBatch(events=[one]) is written, without a copy of `one`.
    batch.write(_EVENTS_TAG)
    serialize_length_prefixed(one, batch)
    return batch.getvalue()
