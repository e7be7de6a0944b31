"""The verbs that come in three forms: a call of its own, a batch, a stream. One way for all.

A verb is a function from a request to its answer; what a batch or a stream adds is here, once.
An item is worked on as a call of its own is: same rules, same refusals, as its own app.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from mesh.context import within
from mesh.door import DEADLINE_SECONDS, Context
from mesh.items import answered, each
from mesh.replays import mark
from mesh.wire import fingerprint
from tongbao.trade.v1 import trade_service_pb2 as pb
from trade.desk import Desk
from trade.flow.create_refund import create_refund
from trade.flow.create_trade import create_trade
from trade.flow.get_trade import get_trade
from trade.flow.pay_trade import pay_trade
from trade.wire import (
    failed_view_to_proto,
    order_from_proto,
    payment_view_to_proto,
    refund_to_proto,
    trade_to_proto,
    try_from_proto,
)

OPEN_MAX = 512  # Items of one stream that are worked on at once.

Answer = Callable[[Desk, Any], Awaitable[tuple[Any, bool]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """How one request is answered, and the messages of its other forms.

    `answer` returns the response and whether the request was seen before.
    """

    answer: Answer
    result: type[Any]
    batch: type[Any]
    pack: type[Any]


async def _create_trade(
    desk: Desk, request: pb.CreateTradeRequest
) -> tuple[pb.CreateTradeResponse, bool]:
    trade, replayed = await create_trade(desk, order_from_proto(request.trade))
    return pb.CreateTradeResponse(trade=trade_to_proto(trade)), replayed


async def _pay_trade(desk: Desk, request: pb.PayTradeRequest) -> tuple[pb.PayTradeResponse, bool]:
    is_new = request.WhichOneof("target") == "new_trade"
    order = order_from_proto(request.new_trade) if is_new else None
    tried = try_from_proto(request)
    paid = await pay_trade(desk, tried, trade_no=request.trade_no, order=order)
    is_latest = paid.payment_no == paid.trade.payment_no
    view = (
        payment_view_to_proto(paid.trade)
        if is_latest
        else failed_view_to_proto(paid.payment_no, tried.tool)
    )
    return pb.PayTradeResponse(trade=trade_to_proto(paid.trade), payment=view), paid.replayed


async def _create_refund(
    desk: Desk, request: pb.CreateRefundRequest
) -> tuple[pb.CreateRefundResponse, bool]:
    refund, trade, replayed = await create_refund(
        desk,
        refund_order_no=request.refund_order_no,
        fingerprint=fingerprint(request),
        trade_no=request.trade_no,
        amount_minor=request.amount.minor_units,
        currency_code=request.amount.currency_code,
        cause=request.cause,
    )
    answer = pb.CreateRefundResponse(refund=refund_to_proto(refund), trade=trade_to_proto(trade))
    return answer, replayed


async def _get_trade(desk: Desk, request: pb.GetTradeRequest) -> tuple[pb.GetTradeResponse, bool]:
    trade = await get_trade(desk, trade_no=request.trade_no, order_no=request.order_no)
    answer = pb.GetTradeResponse(trade=trade_to_proto(trade), payment=payment_view_to_proto(trade))
    return answer, False


CREATE_TRADE = Verb(
    answer=_create_trade,
    result=pb.CreateTradeResult,
    batch=pb.BatchCreateTradesResponse,
    pack=pb.StreamCreateTradesResponse,
)
PAY_TRADE = Verb(
    answer=_pay_trade,
    result=pb.PayTradeResult,
    batch=pb.BatchPayTradesResponse,
    pack=pb.StreamPayTradesResponse,
)
CREATE_REFUND = Verb(
    answer=_create_refund,
    result=pb.CreateRefundResult,
    batch=pb.BatchCreateRefundsResponse,
    pack=pb.StreamCreateRefundsResponse,
)
GET_TRADE = Verb(
    answer=_get_trade,
    result=pb.GetTradeResult,
    batch=pb.BatchGetTradesResponse,
    pack=pb.StreamGetTradesResponse,
)


def single(verb: Verb) -> Any:
    """Return the method that answers one request; a repetition is marked in the trailer."""

    async def call(self: Any, request: Any, context: Context) -> Any:
        answer, replayed = await verb.answer(self._desk, request)
        mark(context, replayed=replayed)
        return answer

    return call


def batched(verb: Verb) -> Any:
    """Return the method that answers many requests in their order, each on its own."""

    async def call(self: Any, request: Any, context: Context) -> Any:
        async def work(item: Any) -> Any:
            answer, replayed = await verb.answer(self._desk, item)
            return verb.result(response=answer, replayed=replayed)

        return verb.batch(results=await each(request.items, work, verb.result))

    return call


def streamed(verb: Verb) -> Any:
    """Return the method that answers the items of a stream, each when it has ended."""

    async def call(self: Any, requests: AsyncIterator[Any], context: Context) -> AsyncIterator[Any]:
        async def work(item: Any) -> Any:
            with within(DEADLINE_SECONDS):
                answer, replayed = await verb.answer(self._desk, item.request)
            return verb.result(response=answer, replayed=replayed)

        async for pack in answered(
            requests,
            work,
            pack=verb.pack,
            result=verb.result,
            crew=self._desk.crew,
            open_max=OPEN_MAX,
        ):
            yield pack

    return call
