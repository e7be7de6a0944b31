"""What of a message may be shown. The contracts say what may not (`sensitivity`).

Two ways, both from the descriptors. `redacted` is a copy of a message to be shown, such as a
dead letter. `conceal` cleans any text: whatever message is in hand (`hold`), what its sensitive
fields hold is taken out of log lines, error texts and traces of exceptions, wherever it got in
and whoever wrote it there. It costs nothing until somebody writes such a text.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextvars import ContextVar
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor
from google.protobuf.message import Message

from tongbao.common.v1 import options_pb2

HIDDEN = "***"
_SHORTEST = 6  # Letters; what is shorter stands in other words too.

_in_hand: ContextVar[tuple[Message, ...]] = ContextVar("in_hand", default=())
_names: set[str] = set()


def hold(message: Message) -> None:
    """Note, until the present task ends, that `message` is what the work is about."""
    _in_hand.set((*_in_hand.get(), message))


def learn(file: FileDescriptor) -> None:
    """Note the names of the sensitive fields in `file` and in what it imports."""
    for message in file.message_types_by_name.values():
        _learn_from(message)
    for other in file.dependencies:
        if other.package.startswith("tongbao."):
            learn(other)


def is_sensitive_name(name: str) -> bool:
    """Return whether some contract that was learnt has a sensitive field of this name."""
    return name in _names


def conceal(text: str) -> str:
    """Return `text` without what the sensitive fields of the messages in hand hold."""
    held = _in_hand.get()
    if not held:
        return text
    # The longest first: one value may be a part of another.
    for value in sorted({one for message in held for one in _values(message)}, key=len)[::-1]:
        text = text.replace(value, HIDDEN)
    return text


def redacted(message: Message) -> Any:
    """Return a copy of `message` that may be shown: sensitive texts and all bytes are hidden."""
    copy = type(message)()
    copy.CopyFrom(message)
    _hide(copy)
    return copy


def _learn_from(message: Descriptor) -> None:
    _names.update(field.name for field in message.fields if _is_sensitive(field))
    for inner in message.nested_types:
        _learn_from(inner)


@cache
def _is_sensitive(field: FieldDescriptor) -> bool:
    return bool(field.GetOptions().Extensions[options_pb2.sensitivity])


def _values(message: Message) -> Iterator[str]:
    for field, value in message.ListFields():
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            for inner in _messages(field, value):
                yield from _values(inner)
        elif field.type == FieldDescriptor.TYPE_STRING and _is_sensitive(field):
            texts = value if field.is_repeated else (value,)
            yield from (text for text in texts if len(text) >= _SHORTEST)


def _hide(message: Message) -> None:
    for field, value in message.ListFields():
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            for inner in _messages(field, value):
                _hide(inner)
        elif field.type == FieldDescriptor.TYPE_BYTES:
            message.ClearField(field.name)
        elif _is_sensitive(field):
            message.ClearField(field.name)
            if field.type == FieldDescriptor.TYPE_STRING and not field.is_repeated:
                setattr(message, field.name, HIDDEN)


def _messages(field: FieldDescriptor, value: Any) -> list[Message]:
    """Return the messages in a field; of a map, those among its values."""
    if not field.is_repeated:
        return [value]
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        is_message = kind.fields_by_name["value"].type == FieldDescriptor.TYPE_MESSAGE
        return list(value.values()) if is_message else []
    return list(value)
