"""What callers send, read strictly: a name that we do not know is refused, never left out.

A filter or an amount that is misspelt would otherwise be as good as not given.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from connectrpc.codec import Codec
from connectrpc.compat import google_protobuf_binary_codec, google_protobuf_json_codec
from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from web.edge.errors import from_status

_TEXT_MAX = 1000  # Characters of what the parser says, which may repeat what was sent.


def strict_codecs() -> Sequence[Codec[Any, Any]]:
    """Return the codecs of the edge: binary and JSON."""
    strict = google_protobuf_json_codec(ignore_unknown_fields=False)
    return [_Strict(google_protobuf_binary_codec()), _Strict(strict)]


class _Strict(Codec[Any, Any]):
    """Says what is wrong with bytes that are no message, with the reason that gRPC has for it."""

    def __init__(self, inner: Codec[Any, Any]) -> None:
        self._inner = inner

    def name(self) -> str:
        """Return the last part of the content type."""
        return self._inner.name()

    def encode(self, message: Message) -> bytes:
        """Return the bytes of an answer."""
        return self._inner.encode(message)

    def decode(self, data: bytes | bytearray, message_class: type[Any]) -> Any:
        """Return the message. Raises ConnectError with MALFORMED_BYTES."""
        try:
            return self._inner.decode(data, message_class)
        except (json_format.Error, DecodeError, ValueError) as error:
            text = f"malformed bytes: {error}"[:_TEXT_MAX]
            status = status_pb2.Status(code=code_pb2.INVALID_ARGUMENT, message=text)
            info = error_details_pb2.ErrorInfo(reason="MALFORMED_BYTES", domain="tongbao")
            status.details.add().Pack(info)
            raise from_status(status) from error
