"""The four ways to fail, and no fifth (style.md B6).

Malformed and Refused are definite: nothing happened and nothing will. NotExecuted
(`mesh.batch`) is definite too, and may be sent again. Unknown (`mesh.batch`) is not: read
by your own number. Anything else that escapes a flow is a bug.
"""

from __future__ import annotations

import uuid
from typing import Protocol

from google.protobuf import any_pb2, duration_pb2
from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from mesh.batch import NotExecuted, Unknown
from mesh.redact import HIDDEN, conceal, is_sensitive_name
from tongbao.common.v1 import item_pb2, options_pb2
from tongbao.common.v1 import reasons_pb2 as reasons

_DOMAIN = "tongbao"
# A client takes 8 KiB of trailers; details travel in base64, texts with % before each byte.
_TEXT_MAX, _DETAILS_MAX = 512, 2_048
_NOT_EXECUTED_MS = 100  # When to send again what was not executed.
_CODES: dict[str, int] = dict(code_pb2.Code.items())


class Reasons(Protocol):
    """The generated `Reason` enum of any service."""

    @property
    def DESCRIPTOR(self) -> EnumDescriptor: ...  # noqa: N802 the generator's name


class Refused(Exception):
    """A call the service understood and will not do. Never a bug, never retried as is.

    `reason` is a value of the `reasons` enum; its `grpc_code` option picks the status
    code. Every keyword becomes `ErrorInfo.metadata`, so clients never parse text.
    """

    def __init__(self, domain: str, reasons: Reasons, reason: int, /, **facts: object) -> None:
        value = reasons.DESCRIPTOR.values_by_number[reason]
        self.domain = domain
        self.reason = value.name.removeprefix("REASON_")
        self.code = _CODES[value.GetOptions().Extensions[options_pb2.grpc_code]]
        self.facts = {key: str(fact) for key, fact in facts.items()}
        told = ", ".join(f"{key}={fact}" for key, fact in self.facts.items())
        text = self.reason.replace("_", " ").lower()
        super().__init__(f"{text}: {told}" if told else text)


class Malformed(Exception):
    """The request breaks rules of its own contract; carries every violation at once.

    A caller is told as many of them as an answer has room for.
    """

    def __init__(self, violations: error_details_pb2.BadRequest) -> None:
        self.violations = violations
        super().__init__(
            "; ".join(f"{one.field}: {one.description}" for one in violations.field_violations)
        )


class Declined(Exception):
    """A neighbour's refusal, as it came back in an ItemStatus. Passed on as it is."""

    def __init__(self, status: item_pb2.ItemStatus) -> None:
        self.status = status
        super().__init__(f"{status.domain}/{status.reason}: {status.message}")


_FIELDS_MAX = 32  # Of one item; a call's own answer has more room.

# What a flow may raise; anything else is a bug.
KNOWN = (Refused, Malformed, Declined, NotExecuted, Unknown)


def refuse(reason: int, **facts: object) -> Refused:
    """Return a refusal for a reason that any service may give."""
    return Refused(_DOMAIN, reasons.Reason, reason, **facts)


def reused(*, field: str, number: str) -> Refused:
    """Return the refusal of a caller's number that already stands for other content."""
    return refuse(reasons.REASON_REQUEST_REUSED, field=field, number=number)


def to_item_status(error: Exception) -> item_pb2.ItemStatus:
    """Return `error` as it stands beside an item. Bugs become INTERNAL with an `error_id`."""
    if isinstance(error, Declined):
        return error.status
    refused = _as_refused(error)
    if isinstance(error, Malformed):
        broken = error.violations.field_violations[:_FIELDS_MAX]
        facts = {one.field: conceal(one.description) for one in broken}
    else:
        facts = _shown(refused.facts)
    return item_pb2.ItemStatus(
        code=refused.code,
        reason=refused.reason,
        domain=refused.domain,
        metadata=facts,
        message=conceal(str(error if isinstance(error, Malformed) else refused)),
    )


def from_item_status(status: item_pb2.ItemStatus) -> Exception:
    """Return what to raise for an item that a neighbour did not answer well.

    Definite refusals are passed on, NOT_EXECUTED may be sent again, the rest is Unknown.
    """
    if status.reason in ("NOT_EXECUTED", "DEADLINE_PASSED"):
        return NotExecuted(status.message)
    if status.code in (code_pb2.UNKNOWN, code_pb2.INTERNAL) or not status.reason:
        return Unknown(status.message)
    return Declined(status)


def to_status(error: Exception) -> status_pb2.Status:
    """Return `error` as the google.rpc.Status of a call, with its details."""
    if isinstance(error, Declined):
        info = error.status
        return _status(info.code, info.message, info.reason, info.domain, dict(info.metadata))
    refused = _as_refused(error)
    facts = _shown(refused.facts)
    status = _status(refused.code, conceal(str(refused)), refused.reason, refused.domain, facts)
    if isinstance(error, Malformed):
        status.message = conceal(f"malformed request: {error}")[:_TEXT_MAX]
        status.details.append(_packed(_fitting(error.violations)))
    wait_ms = _NOT_EXECUTED_MS if isinstance(error, NotExecuted) else None
    if (told := refused.facts.get("retry_after_ms")) is not None:
        wait_ms = int(told)
    if wait_ms is not None:
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(wait_ms)
        status.details.append(_packed(error_details_pb2.RetryInfo(retry_delay=delay)))
    return status


def _as_refused(error: Exception) -> Refused:
    if isinstance(error, Refused):
        return error
    if isinstance(error, Malformed):
        return refuse(reasons.REASON_INVALID_FIELDS)
    if isinstance(error, NotExecuted):
        return refuse(reasons.REASON_NOT_EXECUTED)
    if isinstance(error, Unknown):
        return refuse(reasons.REASON_OUTCOME_UNKNOWN)
    return refuse(reasons.REASON_INTERNAL, error_id=uuid.uuid4().hex)


def _fitting(violations: error_details_pb2.BadRequest) -> error_details_pb2.BadRequest:
    """Return as many of the first violations as fit into the trailers of an answer."""
    room, kept = _DETAILS_MAX, error_details_pb2.BadRequest()
    for violation in violations.field_violations:
        room -= violation.ByteSize()
        if room < 0:
            break
        kept.field_violations.append(violation)
    return kept


def _shown(facts: dict[str, str]) -> dict[str, str]:
    """Return `facts` without what the contracts call sensitive, by name and by value."""
    return {
        name: HIDDEN if is_sensitive_name(name) else conceal(fact) for name, fact in facts.items()
    }


def _status(
    code: int, message: str, reason: str, domain: str, facts: dict[str, str]
) -> status_pb2.Status:
    info = error_details_pb2.ErrorInfo(reason=reason, domain=domain, metadata=facts)
    return status_pb2.Status(code=code, message=message, details=[_packed(info)])


def _packed(message: Message) -> any_pb2.Any:
    detail = any_pb2.Any()
    detail.Pack(message)
    return detail
