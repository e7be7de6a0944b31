"""What is said when a resource has moved: the event for neighbours, the webhook for its app."""

from __future__ import annotations

from google.protobuf.message import Message

from mesh.events import pack
from mesh.numbers import new_id
from tongbao.trade.v1 import events_pb2, trade_pb2
from trade.desk import Desk
from trade.model import Refund, Trade
from trade.states import RefundState, TradeState
from trade.store.webhook import Letter
from trade.wire import payload_of, refund_to_proto, trade_to_proto


async def tell_trade(desk: Desk, before: Trade, after: Trade) -> tuple[bytes, Letter]:
    """Return event and webhook of a trade's move; empty ones when its state stays.

    A trade under review has an event and no webhook: nobody may believe that it was paid.
    """
    if after.state is before.state:
        return b"", Letter()
    message = trade_to_proto(after)
    if after.state is TradeState.PAID:
        paid = events_pb2.TradePaid(trade=message)
        letter = await _letter(desk, after, "trade.paid", message, number=after.trade_no)
        return _event(paid, after, number=after.trade_no), letter
    if after.state is TradeState.CLOSED:
        closed = events_pb2.TradeClosed(trade=message)
        letter = await _letter(desk, after, "trade.closed", message, number=after.trade_no)
        return _event(closed, after, number=after.trade_no), letter
    assert after.state is TradeState.REVIEW, after.state
    reviewed = events_pb2.TradeReviewed(trade=message)
    return _event(reviewed, after, number=after.trade_no), Letter()


async def tell_refund(desk: Desk, after: Refund) -> tuple[bytes, Letter]:
    """Return event and webhook of a refund's move; empty ones when it is under review."""
    message = refund_to_proto(after)
    if after.state is RefundState.SUCCEEDED:
        refunded = events_pb2.TradeRefunded(refund=message)
        letter = await _letter(desk, after, "refund.succeeded", message, number=after.refund_no)
        return _event(refunded, after, number=after.refund_no), letter
    if after.state is RefundState.FAILED:
        failed = events_pb2.TradeRefundFailed(refund=message)
        letter = await _letter(desk, after, "refund.failed", message, number=after.refund_no)
        return _event(failed, after, number=after.refund_no), letter
    return b"", Letter()


def _event(event: Message, after: Trade | Refund, *, number: str) -> bytes:
    return pack(
        event,
        number=number,
        version=after.version,
        app_id=after.app_id,
        trace_no=after.trace_no,
        time=after.update_time,
    )


async def _letter(
    desk: Desk,
    after: Trade | Refund,
    kind: str,
    message: trade_pb2.Trade | trade_pb2.Refund,
    *,
    number: str,
) -> Letter:
    """Return the webhook; none for an app that has nowhere to get it."""
    app = await desk.directory.app(after.app_id)
    assert app is not None, "every row belongs to an app"
    if not app.webhook_url:
        return Letter()
    payload = payload_of(kind, message, number=number, time=after.update_time)
    return Letter(webhook_id=new_id("whk"), type=kind, payload=payload)
