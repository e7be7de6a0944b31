"""A gRPC status as a Connect error, with its details readable for people with curl."""

from __future__ import annotations

from typing import Any, Final

import grpc
from connectrpc.code import Code
from connectrpc.errors import ConnectError, ErrorDetail
from google.protobuf import any_pb2, descriptor_pool, json_format, message_factory
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from protobuf import message_from_json_value
from protobuf.wkt import Any as WireAny
from protobuf.wkt import Struct

# Both lists of codes are the same but for one spelling.
CODES: Final = {
    code.value[0]: Code.CANCELED if code is grpc.StatusCode.CANCELLED else Code[code.name]
    for code in grpc.StatusCode
    if code is not grpc.StatusCode.OK
}
# Imported so that the pool knows the details we speak of below.
_KNOWN: Final = (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest)


class ReadableDetail(ErrorDetail):
    """A detail that shows, beside its bytes, what is in them: member `debug` of the JSON.

    Clients use the bytes; nothing depends on `debug` (Connect protocol, "Error end-stream").
    """

    def __init__(self, detail: any_pb2.Any) -> None:
        super().__init__(WireAny(type_url=detail.type_url, value=detail.value))
        self._shown = _readable(detail)

    def value(self, *_: Any) -> Any:
        """Return the content as a Struct, None for a type we do not know."""
        return self._shown


def to_connect(error: grpc.aio.AioRpcError) -> ConnectError:
    """Return the error as the Connect protocol spells it; code, text and details stay."""
    status = status_pb2.Status()
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            status = status_pb2.Status.FromString(value)
    status.code, status.message = error.code().value[0], error.details() or ""
    return from_status(status)


def from_status(status: status_pb2.Status) -> ConnectError:
    """Return a refusal as the Connect protocol spells it."""
    details = [ReadableDetail(one) for one in status.details]
    return ConnectError(CODES[status.code], status.message, details=details)


def _readable(detail: any_pb2.Any) -> Struct | None:
    try:
        descriptor = descriptor_pool.Default().FindMessageTypeByName(detail.TypeName())
        message = message_factory.GetMessageClass(descriptor).FromString(detail.value)
    except (KeyError, DecodeError):
        return None
    shown: Struct = message_from_json_value(Struct, json_format.MessageToDict(message))
    return shown
