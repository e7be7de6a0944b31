"""Between messages and Python: money, fingerprints, violations."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import protovalidate
from google.protobuf import timestamp_pb2
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from google.rpc import error_details_pb2

from mesh.errors import Malformed
from tongbao.common.v1 import money_pb2

_VALIDATOR = protovalidate.Validator()


def check(message: Message) -> None:
    """Raise Malformed, with every violation at once, unless `message` keeps its rules."""
    violations = _VALIDATOR.collect_violations(message)
    moments = [name for name in _moments(message.DESCRIPTOR) if not _is_moment(message, name)]
    if not violations and not moments:
        return
    bad = error_details_pb2.BadRequest()
    for violation in violations:
        found = violation.proto
        bad.field_violations.add(
            field=_path(found.field.elements if found.field else ()),
            description=found.message,
            reason=found.rule_id,
        )
    for name in moments:
        told = "must be a moment of the years 1 to 9999"
        bad.field_violations.add(field=name, description=told, reason="timestamp.valid")
    raise Malformed(bad)


@cache
def _moments(kind: Descriptor) -> tuple[str, ...]:
    """Return the names of the fields of `kind` that are single moments."""
    full_name = timestamp_pb2.Timestamp.DESCRIPTOR.full_name
    return tuple(
        field.name
        for field in kind.fields
        if not field.is_repeated
        and field.message_type is not None
        and field.message_type.full_name == full_name
    )


def _is_moment(message: Message, name: str) -> bool:
    """Return whether the moment can be read: its parts may hold what no moment has."""
    try:
        getattr(message, name).ToDatetime()
    except (ValueError, OverflowError):
        return False
    return True


def malformed(field: str, *, rule: str, description: str) -> Malformed:
    """Return the error of a field that breaks a rule which the contract cannot spell."""
    bad = error_details_pb2.BadRequest()
    bad.field_violations.add(field=field, description=description, reason=rule)
    return Malformed(bad)


def money(currency_code: str, minor_units: int) -> money_pb2.Money:
    """Return Money of `minor_units` of `currency_code`."""
    return money_pb2.Money(currency_code=currency_code, minor_units=minor_units)


def fingerprint(message: Message, *, without: Sequence[str] = ()) -> bytes:
    """Return what tells a repeated request from another one under the same number.

    `without` names fields that say nothing about the content, such as the item's context.
    """
    content = message
    if without:
        content = type(message)()
        content.CopyFrom(message)
        for field in without:
            content.ClearField(field)
    return hashlib.sha256(content.SerializeToString(deterministic=True)).digest()


def _path(elements: Iterable[Any]) -> str:
    """Return e.g. `items[3].amount.minor_units`."""
    path = ""
    for element in elements:
        path += f".{element.field_name}"
        if element.subscript is not None:
            path += f"[{element.subscript.value}]"
    return path.removeprefix(".")
