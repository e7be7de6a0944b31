"""Valid messages of any kind, made from the descriptors and the rules in them.

    sample(pb.GetTradeRequest, known={"trade_no": "…"})

fills every field that its rules ask for and every field named in `known` (by its name, at any
depth), and leaves the rest out. A new pattern in a contract that no candidate fits fails with
the sentence that says so.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message

from buf.validate import validate_pb2
from mesh.wire import check
from tests.unit.test_contract import OURS

# Each fits the patterns of the contracts that nothing shorter fits.
CANDIDATES = (
    "",
    "a1",
    "AB",
    "ABC",
    "CNY",
    "simx",
    "https://example.com/a",
    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "20261122TR0000000000000000",
    "20261122PY0000000000000000-1",
    "20261122PY0000000000000000",
    "a" * 16,
    "a" * 26,
    "a" * 32,
    *(f"{kind}_{'0' * 26}" for kind in ("app", "mch", "wlt", "whk", "key", "cas", "case", "rul")),
    "COLLECTED",
    "2026-11-22",
    "1-20261122-3-CNY",
)


def methods() -> Iterator[MethodDescriptor]:
    """Yield every rpc of the contracts, in order."""
    pool = descriptor_pool.Default()
    for file in OURS:
        __import__(file.name.removesuffix(".proto").replace("/", ".") + "_pb2")
    for file in OURS:
        for service in file.service:
            found = pool.FindServiceByName(f"{file.package}.{service.name}")
            yield from found.methods


def kind_of(descriptor: Descriptor) -> type[Message]:
    """Return the class of a message."""
    return message_factory.GetMessageClass(descriptor)


def sample(kind: type[Message] | Descriptor, *, known: Mapping[str, Any]) -> Any:
    """Return a valid message of `kind`."""
    descriptor = kind if isinstance(kind, Descriptor) else kind.DESCRIPTOR
    message = kind_of(descriptor)()
    _fill(message, known)
    check(message)
    return message


def _fill(message: Any, known: Mapping[str, Any]) -> None:
    chosen = {
        oneof.name: next((one for one in oneof.fields if one.name in known), oneof.fields[0])
        for oneof in message.DESCRIPTOR.oneofs
        if not oneof.name.startswith("_")
    }
    for field in message.DESCRIPTOR.fields:
        oneof = field.containing_oneof
        if oneof is not None and oneof.name in chosen and chosen[oneof.name] is not field:
            continue
        rules = field.GetOptions().Extensions[validate_pb2.field]
        if field.name in known and field.message_type is None:
            _set(message, field, known[field.name])
        elif field.is_repeated:
            if (
                field.type != FieldDescriptor.TYPE_MESSAGE
                or not field.message_type.GetOptions().map_entry
            ):
                for _ in range(rules.repeated.min_items or (field.name == "items")):
                    _add(message, field, rules, known)
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            ours = field.message_type.full_name.startswith("tongbao.")
            if ours and (
                rules.required
                or field.name in ("context", "amount")
                or field.name in known
                or oneof
            ):
                getattr(message, field.name).SetInParent()
                _fill(getattr(message, field.name), known)
        else:
            value = _value(field, rules)
            if value:
                setattr(message, field.name, value)


def _set(message: Any, field: FieldDescriptor, value: Any) -> None:
    if field.is_repeated:
        getattr(message, field.name).append(value)
    else:
        setattr(message, field.name, value)


def _add(message: Any, field: FieldDescriptor, rules: Any, known: Mapping[str, Any]) -> None:
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        _fill(getattr(message, field.name).add(), known)
    else:
        getattr(message, field.name).append(_value(field, rules.repeated.items))


def _value(field: FieldDescriptor, rules: Any) -> Any:
    """Return the plainest value of one field, falsy when it may be left out."""
    if field.type == FieldDescriptor.TYPE_STRING:
        return _text(field, rules.string)
    if field.type == FieldDescriptor.TYPE_ENUM:
        numbers = getattr(rules.enum, "in") or [one.number for one in field.enum_type.values]
        return next((number for number in numbers if number), 0)
    if field.type in (FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_INT64):
        least = rules.int32 if field.type == FieldDescriptor.TYPE_INT32 else rules.int64
        return max(
            least.gte, least.gt + 1 if least.HasField("gt") else 0, int(field.name == "minor_units")
        )
    return b"" if field.type == FieldDescriptor.TYPE_BYTES else 0


def _text(field: FieldDescriptor, rules: Any) -> str:
    for text in (*getattr(rules, "in"), *CANDIDATES):
        fits = not rules.pattern or re.search(rules.pattern, text)
        long = rules.min_len <= len(text) and (not rules.max_len or len(text) <= rules.max_len)
        if (
            fits
            and long
            and (not rules.uri or ":" in text)
            and (not rules.const or text == rules.const)
        ):
            return text
    raise AssertionError(
        f"{field.full_name}: no candidate fits its rules; add one to CANDIDATES in tests/samples.py"
    )
