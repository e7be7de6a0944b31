"""What a caller wants listed, from its request."""

from __future__ import annotations

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from tongbao.trade.v1 import trade_pb2
from tongbao.trade.v1 import trade_service_pb2 as pb
from trade.states import RefundState, TradeState
from trade.store.lists import RefundFilter, Span, TradeFilter
from trade.wire import type_from_proto


def trade_filter_from_proto(request: pb.ListTradesRequest) -> TradeFilter:
    """Return which trades the request asks for."""
    names = (trade_pb2.Trade.State.Name(state) for state in request.states)
    return TradeFilter(
        states=[TradeState[name.removeprefix("STATE_")].value for name in names],
        span=_span(request),
        merchant_id=request.merchant_id,
        user_no=request.user_no,
        product_code=request.product_code,
        type=type_from_proto(request.type).value if request.type else "",
    )


def refund_filter_from_proto(request: pb.ListRefundsRequest) -> RefundFilter:
    """Return which refunds the request asks for."""
    names = (trade_pb2.Refund.State.Name(state) for state in request.states)
    return RefundFilter(
        trade_no=request.trade_no,
        states=[RefundState[name.removeprefix("STATE_")].value for name in names],
        span=_span(request),
    )


def _span(request: pb.ListTradesRequest | pb.ListRefundsRequest) -> Span:
    since = request.create_time_from if request.HasField("create_time_from") else None
    until = request.create_time_to if request.HasField("create_time_to") else None
    return Span(since=_moment(since), until=_moment(until))


def _moment(stamp: Timestamp | None) -> datetime | None:
    return None if stamp is None else stamp.ToDatetime(tzinfo=UTC)
