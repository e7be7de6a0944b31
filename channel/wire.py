"""Between messages and records."""

from __future__ import annotations

from channel.model import Attempt, Callback, Leg, Operation
from channel.states import State
from mesh.clock import to_timestamp
from mesh.wire import fingerprint, malformed, money
from tongbao.channel.v1 import attempt_pb2, channel_service_pb2
from tongbao.common.v1 import kinds_pb2, trace_pb2

_OPERATIONS = {
    attempt_pb2.OPERATION_PAY: Operation.PAY,
    attempt_pb2.OPERATION_REFUND: Operation.REFUND,
}
_OPERATION_CODES = {operation: code for code, operation in _OPERATIONS.items()}
_TOOL_NAMES = {code: name.removeprefix("TOOL_") for name, code in kinds_pb2.Tool.items()}
_STATE_CODES = {state: attempt_pb2.Attempt.State.Value(f"STATE_{state.name}") for state in State}


def leg_of(item: channel_service_pb2.SubmitItem) -> Leg:
    """Return the leg of an item that keeps its rules. Raises Malformed for no amount at all."""
    if item.amount.minor_units <= 0:
        raise malformed(
            "amount.minor_units", rule="submit.positive", description="must be positive"
        )
    content = channel_service_pb2.SubmitItem()
    content.CopyFrom(item)
    content.context.Clear()
    content.context.app_id = item.context.app_id  # Another tenant's leg is another content.
    content.ClearField("item_id")
    return Leg(
        leg_no=item.leg_no,
        app_id=item.context.app_id,
        business_code=item.business_code,
        user_no=item.user_no,
        subject=item.subject,
        trace_no=item.context.trace_no,
        operation=_OPERATIONS[item.operation],
        tool=tool_name(item.tool),
        currency_code=item.amount.currency_code,
        amount_minor=item.amount.minor_units,
        original_leg_no=item.original_leg_no,
        original_attempt_no=item.original_attempt_no,
        fingerprint=fingerprint(content),
    )


def tool_name(tool: kinds_pb2.Tool.ValueType) -> str:
    """Return the name of a tool without its prefix."""
    return _TOOL_NAMES[tool]


def attempt_to_proto(attempt: Attempt) -> attempt_pb2.Attempt:
    """Return the message of `attempt`."""
    return attempt_pb2.Attempt(
        attempt_no=attempt.attempt_no,
        leg_no=attempt.leg_no,
        app_id=attempt.app_id,
        trace_no=attempt.trace_no,
        operation=_OPERATION_CODES[attempt.operation],
        channel_code=attempt.channel_code,
        amount=money(attempt.currency_code, attempt.amount_minor),
        reported_minor=attempt.reported_minor,
        reported_currency_code=attempt.reported_currency_code,
        cost_minor=attempt.cost_minor,
        state=_STATE_CODES[attempt.state],
        version=attempt.version,
        provider_no=attempt.provider_no,
        qr_code=attempt.qr_code,
        failure_reason=attempt.failure_reason,
        create_time=to_timestamp(attempt.create_time),
        update_time=to_timestamp(attempt.update_time),
    )


def attempt_to_entry(attempt: Attempt) -> trace_pb2.TraceEntry:
    """Return `attempt` as one thing of its trace."""
    facts = {
        "leg_no": attempt.leg_no,
        "operation": attempt.operation.name,
        "tool": attempt.tool,
        "channel_code": attempt.channel_code,
        "provider_no": attempt.provider_no,
        "original_attempt_no": attempt.original_attempt_no,
        "failure_reason": attempt.failure_reason,
        "reported_minor": str(attempt.reported_minor or ""),
        "reported_currency_code": attempt.reported_currency_code,
        "cost_minor": str(attempt.cost_minor),
        "sends": str(attempt.sends),
        "closing": "true" if attempt.closing and attempt.is_open else "",
    }
    entry = trace_pb2.TraceEntry(
        service="channel",
        kind="attempt",
        number=attempt.attempt_no,
        state=attempt.state.name,
        amount=money(attempt.currency_code, attempt.amount_minor),
        create_time=to_timestamp(attempt.create_time),
        update_time=to_timestamp(attempt.update_time),
        facts={name: fact for name, fact in facts.items() if fact},
    )
    if attempt.due_time is not None:
        entry.due_time.FromDatetime(attempt.due_time)
    return entry


def callback_to_entry(callback: Callback) -> trace_pb2.TraceEntry:
    """Return `callback` as one thing of its trace."""
    return trace_pb2.TraceEntry(
        service="channel",
        kind="callback",
        number=str(callback.callback_id),
        create_time=to_timestamp(callback.create_time),
        update_time=to_timestamp(callback.create_time),
        facts={
            "attempt_no": callback.attempt_no,
            "channel_code": callback.channel_code,
            "verdict": callback.verdict,
        },
    )
