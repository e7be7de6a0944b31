"""Carries the deeds out, each by its script, as business lines under trouble would."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import monotonic
from typing import Any

from checker.evidence import Call
from demo.drive import BALANCE, ENDED, NOT_CHARGED, QR
from demo.world import CURRENCY, World
from tongbao.common.v1 import kinds_pb2, money_pb2
from tongbao.trade.v1 import trade_pb2
from tongbao.trade.v1 import trade_service_pb2 as pb
from torture.client import Client
from torture.deeds import Deed, Op
from torture.strangers import expired, forged

_PAID = (trade_pb2.Trade.STATE_PAID, trade_pb2.Trade.STATE_COMPLETED)
_RECHARGES = (Op.FUND, Op.RECHARGE)
_NEIGHBOUR = {"MALL": "RIDE", "RIDE": "MALL"}


class Callers:
    """All callers of a run. `clients` are by app."""

    def __init__(self, world: World, clients: Mapping[str, Client]) -> None:
        self._world, self._clients = world, clients
        self.done = 0

    async def carry_out(self, deeds: Sequence[Deed], *, began: float) -> None:
        """Return when every deed is done, or its caller has left."""
        async with asyncio.TaskGroup() as group:
            for deed in deeds:
                group.create_task(self._one(deed, at=began + deed.at_ms / 1000))

    async def _one(self, deed: Deed, *, at: float) -> None:
        await asyncio.sleep(max(0.0, at - monotonic()))
        await _SCRIPTS[deed.op](self, deed)
        self.done += 1

    async def _pay_by_qr(self, deed: Deed) -> trade_pb2.Trade | None:
        await self._pay(deed, QR)
        return await self._settled(deed)

    async def _pay_from_wallet(self, deed: Deed) -> trade_pb2.Trade | None:
        await self._pay(deed, BALANCE)
        return await self._settled(deed)

    async def _in_two_steps(self, deed: Deed) -> None:
        call = self._call(deed, "CreateTrade", deed.order_no)
        request = pb.CreateTradeRequest(trade=self._new_trade(deed))
        answer = await self._change(deed, call, request)
        if answer is not None:
            await self._pay(deed, QR, trade_no=answer.trade.trade_no)
            await self._settled(deed)

    async def _same_key(self, deed: Deed) -> None:
        await asyncio.gather(*(self._pay(deed, QR) for _ in range(3)))
        await self._settled(deed)
        await self._pay(deed, QR)  # Once more when all is over.

    async def _other_body(self, deed: Deed) -> None:
        """One request id and order number for two amounts: whoever comes second is refused."""
        await asyncio.gather(self._pay(deed, QR), self._pay(deed, QR, more=100))
        await self._settled(deed)

    async def _close_unpaid(self, deed: Deed) -> None:
        call = self._call(deed, "CreateTrade", deed.order_no)
        request = pb.CreateTradeRequest(trade=self._new_trade(deed))
        answer = await self._change(deed, call, request)
        if answer is not None:
            await self._close(deed)
            await self._pay(deed, QR, trade_no=answer.trade.trade_no)
            await self._settled(deed)

    async def _close_while_paying(self, deed: Deed) -> None:
        await asyncio.gather(self._pay(deed, QR), self._close(deed))
        await self._settled(deed)

    async def _pay_and_close(self, deed: Deed) -> None:
        await self._pay(deed, QR)
        await self._close(deed)
        await self._settled(deed)

    async def _close(self, deed: Deed) -> None:
        """Close, and ask again while nobody knows; a refusal is an answer as well."""
        call = self._call(deed, "CloseTrade", f"{deed.order_no}-C")
        await self._change(deed, call, pb.CloseTradeRequest(order_no=deed.order_no))

    async def _many(self, deed: Deed) -> None:
        amounts = (deed.amount_minor, *deed.parts)
        names = [f"{deed.order_no}-{place}" for place in range(len(amounts))]
        calls = [
            self._call(deed, "PayTrade", name, order_no=name, amount=amount, tool="QR_PAYER")
            for name, amount in zip(names, amounts, strict=True)
        ]
        requests = [
            pb.PayTradeRequest(
                request_id=name,
                tool=QR,
                new_trade=self._new_trade(deed, order_no=name, amount=amount),
            )
            for name, amount in zip(names, amounts, strict=True)
        ]
        client = self._clients[deed.app]
        send = client.batch if deed.op is Op.BATCH else client.stream
        await client.change_all(deed.order_no, calls, requests, send)
        await asyncio.gather(*(self._settled(deed, order_no=name) for name in names))

    async def _refund_parts(self, deed: Deed) -> None:
        pay = self._pay_from_wallet if deed.op is Op.REFUND_WALLET else self._pay_by_qr
        trade = await pay(deed)
        if trade is None or trade.state not in _PAID:
            return
        first, *rest = deed.parts
        await self._refund(deed, trade, first, 1)
        for amount in rest:  # The same number twice at once.
            both = (self._refund(deed, trade, amount, 2) for _ in range(2))
            await asyncio.gather(*both)

    async def _refund_race(self, deed: Deed) -> None:
        trade = await self._pay_by_qr(deed)
        if trade is not None and trade.state in _PAID:
            await asyncio.gather(
                *(self._refund(deed, trade, part, n) for n, part in enumerate(deed.parts, 1))
            )

    async def _stranger(self, deed: Deed) -> None:
        """What is of one app does not exist for another, and only its own tokens open it."""
        trade = await self._pay_by_qr(deed)
        if trade is None:
            return
        own, other = self._clients[deed.app], self._clients[_NEIGHBOUR[deed.app]]
        key, app_id = self._world.folder / self._world.apps[deed.app].key, deed.app
        app_id = self._world.apps[deed.app].app_id
        theirs = self._world.folder / self._world.apps[_NEIGHBOUR[deed.app]].key
        look = pb.GetTradeRequest(trade_no=trade.trade_no)
        take = pb.CreateRefundRequest(
            refund_order_no=f"{deed.order_no}-X", trade_no=trade.trade_no, amount=_money(100)
        )
        pay = pb.PayTradeRequest(
            request_id=f"{deed.order_no}-X", trade_no=trade.trade_no, tool=BALANCE
        )
        for verb, request in (("GetTrade", look), ("CreateRefund", take), ("PayTrade", pay)):
            await other.intrude(
                verb, request, "", what="another app's trade", why="TRADE_NOT_FOUND"
            )
        old, false = expired(app_id, key), forged(app_id, theirs)
        await own.intrude("CreateRefund", take, old, what="an old token", why="TOKEN_EXPIRED")
        await own.intrude("CreateRefund", take, false, what="a forged token", why="TOKEN_INVALID")

    async def _refund(self, deed: Deed, trade: trade_pb2.Trade, amount: int, place: int) -> None:
        """Ask for a refund and wait for its end."""
        number = f"{deed.order_no}-RF{place}"
        request = pb.CreateRefundRequest(
            refund_order_no=number, trade_no=trade.trade_no, amount=_money(amount), cause="test"
        )
        call = self._call(deed, "CreateRefund", number, amount=amount)
        if await self._change(deed, call, request) is None:
            return
        ask = pb.GetRefundRequest(refund_order_no=number)
        client = self._clients[deed.app]

        async def look() -> trade_pb2.Refund | None:
            answer = await client.read(deed.order_no, "GetRefund", ask, deed.trace_no)
            open_state = trade_pb2.Refund.STATE_PROCESSING
            return answer.refund if answer and answer.refund.state != open_state else None

        await client.until(look)

    async def _pay(
        self, deed: Deed, tool: kinds_pb2.Tool.ValueType, *, trade_no: str = "", more: int = 0
    ) -> Any | None:
        amount = deed.amount_minor + more
        request = pb.PayTradeRequest(request_id=f"{deed.order_no}-P", tool=tool)
        if trade_no:
            request.trade_no = trade_no
        else:
            request.new_trade.CopyFrom(self._new_trade(deed, amount=amount))
        name = kinds_pb2.Tool.Name(tool).removeprefix("TOOL_")
        call = self._call(deed, "PayTrade", request.request_id, amount=amount, tool=name)
        return await self._change(deed, call, request)

    async def _change(self, deed: Deed, call: Call, request: Any) -> Any | None:
        client = self._clients[deed.app]
        return await client.change(deed.order_no, call, request, faithful=deed.faithful)

    async def _settled(self, deed: Deed, *, order_no: str = "") -> trade_pb2.Trade | None:
        """Return the trade when its last try has ended; None when there is no trade."""
        order_no = order_no or deed.order_no
        ask, client = pb.GetTradeRequest(order_no=order_no), self._clients[deed.app]

        async def look() -> pb.GetTradeResponse | None:
            found = await client.read(deed.order_no, "GetTrade", ask, f"{deed.app}-{order_no}")
            ended = found is not None and (
                found.trade.state in ENDED or found.payment.state in NOT_CHARGED
            )
            return found if ended else None

        found = await client.until(look)
        return found.trade if found is not None else None

    def _new_trade(self, deed: Deed, *, order_no: str = "", amount: int = 0) -> pb.NewTrade:
        app = self._world.apps[deed.app]
        order_no = order_no or deed.order_no
        return pb.NewTrade(
            order_no=order_no,
            product_code=app.recharge if deed.op in _RECHARGES else app.collect,
            merchant_id=app.merchants[deed.merchant] if deed.merchant else "",
            user_no=deed.user_no,
            amount=_money(amount or deed.amount_minor),
            subject=f"order {order_no}",
        )

    def _call(
        self,
        deed: Deed,
        verb: str,
        number: str,
        *,
        order_no: str = "",
        amount: int = 0,
        tool: str = "",
    ) -> Call:
        """Return what the history is told of a call."""
        return Call(
            seq=0,
            story=_STORIES.get(deed.op, deed.op),
            verb=verb,
            app=deed.app,
            trace_no=f"{deed.app}-{order_no or deed.order_no}",
            number=number,
            amount_minor=amount or deed.amount_minor,
            currency_code=CURRENCY,
            trade_type="RECHARGE" if deed.op in _RECHARGES else "COLLECT",
            tool=tool,
            merchant_id=self._world.apps[deed.app].merchants.get(deed.merchant, ""),
            user_no=deed.user_no,
        )


# What the checker's rules about refusals know these deeds by.
_STORIES = {Op.OTHER_BODY: "reused", Op.REFUND_OVER: "refund_too_much"}

_Script = Callable[[Callers, Deed], Awaitable[object]]
_SCRIPTS: Mapping[Op, _Script] = {
    Op.FUND: Callers._pay_by_qr,
    Op.RECHARGE: Callers._pay_by_qr,
    Op.QR: Callers._pay_by_qr,
    Op.QR_FAULTY: Callers._pay_by_qr,
    Op.WALLET: Callers._pay_from_wallet,
    Op.TWO_STEPS: Callers._in_two_steps,
    Op.SAME_KEY: Callers._same_key,
    Op.OTHER_BODY: Callers._other_body,
    Op.BATCH: Callers._many,
    Op.STREAM: Callers._many,
    Op.CLOSE: Callers._close_unpaid,
    Op.CLOSE_RACE: Callers._close_while_paying,
    Op.CLOSE_FAULTY: Callers._pay_and_close,
    Op.REFUND_PARTS: Callers._refund_parts,
    Op.REFUND_FAULTY: Callers._refund_parts,
    Op.REFUND_RACE: Callers._refund_race,
    Op.REFUND_OVER: Callers._refund_parts,
    Op.REFUND_WALLET: Callers._refund_parts,
    Op.STRANGER: Callers._stranger,
}


def _money(minor_units: int) -> money_pb2.Money:
    return money_pb2.Money(currency_code=CURRENCY, minor_units=minor_units)
