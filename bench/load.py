"""The load: so many payments in flight at all times, each created and paid in one call."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

import grpc

from bench.figures import Done
from bench.inbox import Inbox
from bench.world import BenchWorld
from tongbao.common.v1 import kinds_pb2, money_pb2
from tongbao.trade.v1 import trade_pb2
from tongbao.trade.v1 import trade_service_pb2 as pb

CALL_S = 30.0
PAID_S = 60.0
REFUSED = "RESOURCE_EXHAUSTED"
_PAUSE_S = (0.1, 0.5)
AMOUNT_MINOR = 1_234  # Not one of the amounts that make the simulator fail.

_State = trade_pb2.Trade.State
_View = trade_pb2.PaymentView.State
Send = Callable[[], Awaitable[Done]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How a load looks: what is paid, in which form, how many payments at once."""

    what: str
    form: str
    in_flight: int
    pack: int
    seconds: float
    warm_up: float


async def run(send: Send, shape: Shape) -> tuple[list[Done], float, float]:
    """Keep the load up, through the warm-up and the measured seconds.

    Returns every call, and when the measured seconds began and ended.
    """
    done: list[Done] = []
    begin = monotonic() + shape.warm_up
    end = begin + shape.seconds

    async def keep_one() -> None:
        while monotonic() < end:
            one = await send()
            done.append(one)
            if REFUSED in one.errors:  # As the refusal asks: not again at once.
                await asyncio.sleep(random.uniform(*_PAUSE_S))  # noqa: S311 it only spreads load

    calls = shape.in_flight if shape.form == "unary" else max(1, shape.in_flight // shape.pack)
    await asyncio.gather(*(keep_one() for _ in range(calls)))
    return done, begin, end


class Sender:
    """Makes and sends calls. Order numbers begin with `prefix` and are never used twice."""

    def __init__(self, world: BenchWorld, shape: Shape, *, prefix: str, inbox: Inbox) -> None:
        self.prefix = prefix
        self._world, self._shape, self._inbox = world, shape, inbox
        self._serial = itertools.count(1)
        by_wallet = shape.what == "pay-wallet"
        self._tool = kinds_pb2.TOOL_BALANCE if by_wallet else kinds_pb2.TOOL_QR_PAYER
        self._app = world.app_of(shape.what)

    def send(self) -> Send:
        """Return what sends one call of the shape's form."""
        if self._shape.form == "batch":
            return self._send_pack
        return self._send_and_wait if self._shape.what == "collect" else self._send_one

    async def _send_one(self) -> Done:
        began = monotonic()
        try:
            answer = await self._world.trade.PayTrade(
                self.request(), timeout=CALL_S, metadata=self._app.metadata()
            )
        except grpc.aio.AioRpcError as error:
            return Done(began, monotonic(), 0, (error.code().name,))
        return _done(began, [_problem(answer)])

    async def _send_pack(self) -> Done:
        requests = [self.request() for _ in range(self._shape.pack)]
        began = monotonic()
        try:
            answer = await self._world.trade.BatchPayTrades(
                pb.BatchPayTradesRequest(items=requests),
                timeout=CALL_S,
                metadata=self._app.metadata(),
            )
        except grpc.aio.AioRpcError as error:
            return Done(began, monotonic(), 0, (error.code().name,) * len(requests))
        problems = [
            one.status.reason or "UNKNOWN" if one.HasField("status") else _problem(one.response)
            for one in answer.results
        ]
        if self._shape.what == "collect":
            return await self._all_told(began, requests, problems)
        return _done(began, problems)

    async def _send_and_wait(self) -> Done:
        """Show the payer a code, and wait for the webhook that says PAID."""
        request = self.request()
        began = monotonic()
        try:
            answer = await self._world.trade.PayTrade(
                request, timeout=CALL_S, metadata=self._app.metadata()
            )
        except grpc.aio.AioRpcError as error:
            return Done(began, monotonic(), 0, (error.code().name,))
        return await self._all_told(began, [request], [_problem(answer)])

    async def _all_told(
        self, began: float, requests: Sequence[pb.PayTradeRequest], problems: Sequence[str]
    ) -> Done:
        """Wait until the webhooks of all orders that may be paid have come."""
        waits = [
            self._inbox.paid(request.new_trade.order_no)
            for request, problem in zip(requests, problems, strict=True)
            if problem in ("", "PROCESSING")
        ]
        told = await asyncio.gather(
            *(asyncio.wait_for(wait, PAID_S) for wait in waits), return_exceptions=True
        )
        late = ["NO_WEBHOOK" if isinstance(one, TimeoutError) else "" for one in told]
        return _done(began, [*late, *(one for one in problems if one not in ("", "PROCESSING"))])

    def request(self) -> pb.PayTradeRequest:
        """Return a payment that was never asked for."""
        serial = next(self._serial)
        number = f"{self.prefix}-{serial}"
        users, merchants = self._world.users, self._world.merchants(self._shape.what)
        return pb.PayTradeRequest(
            request_id=number,
            new_trade=pb.NewTrade(
                order_no=number,
                product_code=self._app.product,
                merchant_id=merchants[serial % len(merchants)],
                user_no=users[serial % len(users)] if self._tool == kinds_pb2.TOOL_BALANCE else "",
                amount=money_pb2.Money(currency_code="CNY", minor_units=AMOUNT_MINOR),
            ),
            tool=self._tool,
        )


def _problem(answer: Any) -> str:
    """Return what keeps a payment from being PAID; empty when it is."""
    if answer.trade.state == _State.STATE_PAID:
        return ""
    if answer.payment.state == _View.STATE_FAILED:
        return str(answer.payment.failure_reason)
    return str(_View.Name(answer.payment.state)).removeprefix("STATE_")


def _done(began: float, problems: Sequence[str]) -> Done:
    errors = tuple(one for one in problems if one)
    return Done(began, monotonic(), len(problems) - len(errors), errors)
