"""What an answer of the contract says, as the history keeps it."""

from __future__ import annotations

from typing import Any

from google.rpc import code_pb2

from checker.evidence import OK, Told
from tongbao.trade.v1 import trade_pb2

_STATE = "STATE_"


def told_by(message: Any, *, replayed: bool = False) -> Told:
    """Return what an answer, or one item of a batch of answers, says."""
    fields = message.DESCRIPTOR.fields_by_name
    if "status" in fields and message.HasField("status"):
        status = message.status
        return Told(code=code_pb2.Code.Name(status.code), reason=status.reason)
    if "response" in fields:
        return told_by(message.response, replayed=replayed)
    facts: dict[str, str] = {}
    if "trade" in fields:
        facts["trade_no"] = message.trade.trade_no
        facts["trade_state"] = _trade_state(message.trade)
    if "payment" in fields:
        facts["payment_no"] = message.payment.payment_no
        state = trade_pb2.PaymentView.State.Name(message.payment.state)
        facts["payment_state"] = state.removeprefix(_STATE)
        facts["failure_reason"] = message.payment.failure_reason
    if "refund" in fields:
        facts["refund_no"] = message.refund.refund_no
        facts["refund_state"] = _refund_state(message.refund)
        facts["failure_reason"] = message.refund.failure_reason
    return Told(code=OK, replayed=replayed, **facts)


def sights_of(message: Any, trace_no: str) -> list[dict[str, Any]]:
    """Return how trades and refunds look in an answer."""
    seen = []
    fields = message.DESCRIPTOR.fields_by_name if message is not None else ()
    if "trade" in fields and message.trade.trade_no:
        trade = message.trade
        seen.append(_sight(trade.trade_no, trace_no, _trade_state(trade), trade.version))
    if "refund" in fields and message.refund.refund_no:
        refund = message.refund
        seen.append(_sight(refund.refund_no, trace_no, _refund_state(refund), refund.version))
    return seen


def _sight(number: str, trace_no: str, state: str, version: int) -> dict[str, Any]:
    return {"number": number, "trace_no": trace_no, "state": state, "version": version}


def _trade_state(trade: trade_pb2.Trade) -> str:
    return trade_pb2.Trade.State.Name(trade.state).removeprefix(_STATE)


def _refund_state(refund: trade_pb2.Refund) -> str:
    return trade_pb2.Refund.State.Name(refund.state).removeprefix(_STATE)
