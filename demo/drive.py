"""Carries orders out as a business line would: send, repeat, ask, give money back."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from checker.evidence import Call, Told
from demo.client import Answer, CallFailed, Doors
from demo.history import History
from demo.plan import EXPIRING, FROM_WALLET, OUTAGES, Order, Story
from demo.resume import left_behind
from demo.simulator import Simulator
from demo.world import CURRENCY, World
from tongbao.common.v1 import kinds_pb2, money_pb2
from tongbao.trade.v1 import trade_pb2
from tongbao.trade.v1 import trade_service_pb2 as pb

QR, BALANCE = kinds_pb2.TOOL_QR_PAYER, kinds_pb2.TOOL_BALANCE
SETTLE_S = 75.0  # The longest that any fault takes to be resolved.
FUNDS_S = 20.0
_POLL_S = 0.2
_AT_ONCE = 24

_View = trade_pb2.PaymentView.State
_State = trade_pb2.Trade.State
_Refund = trade_pb2.Refund.State
ENDED = frozenset({_State.STATE_PAID, _State.STATE_COMPLETED, _State.STATE_CLOSED,
                   _State.STATE_REVIEW})  # fmt: skip
NOT_CHARGED = frozenset({_View.STATE_FAILED, _View.STATE_CLOSED})


@dataclass(slots=True)
class Tally:
    """What a board shows: orders by story and by how they stand."""

    began: float = field(default_factory=monotonic)
    first_payment_s: float | None = None
    sent: int = 0
    stands: dict[str, tuple[Story, str]] = field(default_factory=dict)
    refunds: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def note(self, order: Order, state: str) -> None:
        """Note how an order stands."""
        self.stands[order.trace_no] = (order.story, state)
        if state == "PAID" and self.first_payment_s is None:
            self.first_payment_s = monotonic() - self.began

    def by_state(self) -> Counter[str]:
        """Return how many orders are in each state."""
        return Counter(state for _, state in self.stands.values())

    def by_story(self) -> Mapping[str, Counter[str]]:
        """Return by story how many of its orders are in each state."""
        found: dict[str, Counter[str]] = {}
        for story, state in self.stands.values():
            found.setdefault(story, Counter())[state] += 1
        return found


class Driver:
    """Drives orders through the public door, and writes every call down before it is sent."""

    def __init__(self, doors: Doors, world: World, history: History, *, tally: Tally) -> None:
        self._doors, self._world, self._history = doors, world, history
        self._callers = {name: world.caller(name) for name in world.apps}
        self._turn = asyncio.Semaphore(_AT_ONCE)
        self._funded: dict[tuple[str, str], asyncio.Event] = {}
        self.tally = tally

    async def drive(self, orders: Sequence[Order], simulator: Simulator) -> None:
        """Carry out all orders; return when each has ended or SETTLE_S is over.

        What an earlier run left behind is closed first. Then one order is alone, to see how long
        it takes, and the outages come before the rest.
        """
        await self.close_left()
        for order in orders:
            if order.story is Story.RECHARGE:
                self._funded.setdefault((order.app, order.user_no), asyncio.Event())
        first, *rest = sorted(orders, key=lambda order: order.story in OUTAGES)
        await self._one(first)
        await self._outages(rest, simulator)
        async with asyncio.TaskGroup() as group:
            for order in rest:
                if order.story not in OUTAGES:
                    group.create_task(self._one(order))

    async def close_left(self) -> None:
        """Close what an earlier run meant to close and was broken off before it did."""
        await asyncio.gather(*map(self._close, left_behind(self._history.calls())))

    async def _outages(self, orders: Sequence[Order], simulator: Simulator) -> None:
        """Close one provider, then both, and carry out what waits for that."""
        await self._while_down(["sim-a"], orders, Story.FAILOVER, simulator)
        await self._while_down(["sim-a", "sim-b"], orders, Story.OUTAGE, simulator)

    async def _while_down(
        self, acquirers: Sequence[str], orders: Sequence[Order], story: Story, simulator: Simulator
    ) -> None:
        mine = [order for order in orders if order.story is story]
        if not mine:
            return
        try:
            for acquirer in acquirers:
                await simulator.outage(acquirer, on=True)
            await asyncio.gather(*(self._one(order) for order in mine))
        finally:
            for acquirer in acquirers:
                await simulator.outage(acquirer, on=False)
        if story is Story.OUTAGE:
            await asyncio.gather(*(self._try_again(order) for order in mine))

    async def _one(self, order: Order) -> None:
        """Carry out one order. What the platform says about it is judged later, not here."""
        try:
            await _SCRIPTS.get(order.story, Driver._pay_by_qr)(self, order)
        except CallFailed as error:
            self.tally.failures.append(f"{order.trace_no} ({order.story}): {error}")

    async def _pay_by_qr(self, order: Order) -> trade_pb2.Trade:
        return await self._settled(order, await self._pay(order, QR))

    async def _pay_in_two_steps(self, order: Order) -> None:
        if trade_no := await self._create(order):
            await self._settled(order, await self._pay(order, QR, trade_no=trade_no))

    async def _create(self, order: Order) -> str:
        """Order without paying; return the trade's number, empty for an error."""
        new = pb.CreateTradeRequest(trade=self._new_trade(order))
        answer = await self._send(order, "CreateTrade", order.order_no, new)
        return answer.message.trade.trade_no if answer else ""

    async def _close_untried(self, order: Order) -> None:
        trade_no = await self._create(order)
        await self._close(order)
        await self._pay(order, QR, trade_no=trade_no)  # Refused: it is closed for good.
        await self._close(order)

    async def _pay_and_close(self, order: Order) -> None:
        answer = await self._pay(order, QR)
        if order.story is Story.CLOSE_PAID:
            await self._settled(order, answer)
        await self._settled(order, await self._close(order) or answer)

    async def _let_expire(self, order: Order) -> None:
        """Order, or have a code made that nobody scans, and wait until it is closed."""
        if order.story is Story.EXPIRE_UNTRIED:
            await self._create(order)
        else:
            await self._pay(order, QR)
        await self._settled(order, None)

    async def _close(self, order: Order) -> Answer[Any] | None:
        request = pb.CloseTradeRequest(order_no=order.order_no)
        return await self._send(order, "CloseTrade", f"{order.order_no}-C", request)

    async def _pay_from_wallet(self, order: Order) -> trade_pb2.Trade:
        if event := self._funded.get((order.app, order.user_no)):
            with suppress(TimeoutError):  # Then it is refused, which is an outcome as well.
                async with asyncio.timeout(SETTLE_S):
                    await event.wait()
        return await self._settled(order, await self._pay(order, BALANCE))

    async def _recharge(self, order: Order) -> None:
        before = await self._balance(order)
        trade = await self._settled(order, await self._pay(order, QR))
        give_up = monotonic() + FUNDS_S
        while trade.state == _State.STATE_PAID and monotonic() < give_up:
            if await self._balance(order) >= before + order.amount_minor:
                break
            await asyncio.sleep(_POLL_S)
        self._funded[order.app, order.user_no].set()

    async def _pay_repeatedly(self, order: Order) -> None:
        answers = await asyncio.gather(*(self._pay(order, QR) for _ in range(3)))
        await self._settled(order, answers[0])
        await self._pay(order, QR)  # Once more when all is over.

    async def _reuse_number(self, order: Order) -> None:
        await self._pay_by_qr(order)
        other = self._new_trade(order)
        other.amount.minor_units += 100
        request = pb.PayTradeRequest(request_id=f"{order.order_no}-other", new_trade=other, tool=QR)
        await self._send(order, "PayTrade", request.request_id, request)

    async def _pay_when_broke(self, order: Order) -> None:
        await self._settled(order, await self._pay(order, BALANCE))
        await self._try_again(order)

    async def _try_again(self, order: Order) -> None:
        """Pay by a second try what a first one failed to pay."""
        if trade := await self._look(order):
            again = await self._pay(order, QR, trade_no=trade.trade_no, tried=2)
            await self._settled(order, again)

    async def _pay_and_refund(self, order: Order) -> None:
        pay = self._pay_from_wallet if order.story in FROM_WALLET else self._pay_by_qr
        trade = await pay(order)
        if trade.state != _State.STATE_PAID:
            return
        for place, amount in enumerate(order.refunds, 1):
            await self._refund(order, trade, amount, place)
        if order.story is Story.REFUND_WHOLE:  # Asked once more, with the same number.
            await self._refund(order, trade, order.refunds[0], 1)

    async def _refund(self, order: Order, trade: trade_pb2.Trade, amount: int, place: int) -> None:
        """Ask for a refund and wait for its end."""
        number = f"{order.order_no}-RF{place}"
        money = money_pb2.Money(currency_code=CURRENCY, minor_units=amount)
        request = pb.CreateRefundRequest(
            refund_order_no=number, trade_no=trade.trade_no, amount=money, cause="not wanted"
        )
        answer = await self._send(order, "CreateRefund", number, request, amount=amount)
        if answer is None:
            return
        refund, give_up = answer.message.refund, monotonic() + SETTLE_S
        ask = pb.GetRefundRequest(refund_order_no=number)
        while refund.state == _Refund.STATE_PROCESSING and monotonic() < give_up:
            await asyncio.sleep(_POLL_S)
            caller = self._callers[order.app]
            refund = (await caller.ask(self._doors.trade.GetRefund, ask)).message.refund
        self.tally.refunds[_Refund.Name(refund.state).removeprefix("STATE_")] += 1

    async def _pay(
        self, order: Order, tool: kinds_pb2.Tool.ValueType, *, trade_no: str = "", tried: int = 1
    ) -> Answer[Any] | None:
        request = pb.PayTradeRequest(request_id=f"{order.order_no}-P{tried}", tool=tool)
        if trade_no:
            request.trade_no = trade_no
        else:
            request.new_trade.CopyFrom(self._new_trade(order))
        return await self._send(order, "PayTrade", request.request_id, request)

    def _new_trade(self, order: Order) -> pb.NewTrade:
        app = self._world.apps[order.app]
        is_recharge = order.story is Story.RECHARGE
        collect = app.flash if order.story in EXPIRING else app.collect
        return pb.NewTrade(
            order_no=order.order_no,
            product_code=app.recharge if is_recharge else collect,
            merchant_id="" if is_recharge else app.merchants[order.merchant],
            user_no=order.user_no,
            amount=money_pb2.Money(currency_code=CURRENCY, minor_units=order.amount_minor),
            subject=f"order {order.order_no}",
        )

    async def _send(
        self, order: Order, verb: str, number: str, request: Any, *, amount: int | None = None
    ) -> Answer[Any] | None:
        """Write the call down, send it, write its answer down; None for an error."""
        call = self._call(order, verb, number, request, amount=amount)
        await self._history.sent(call)
        self.tally.sent += 1
        try:
            async with self._turn:
                method = getattr(self._doors.trade, verb)
                answer: Answer[Any] = await self._callers[order.app].ask(method, request)
        except CallFailed as error:
            told = Told(code=error.code, reason=error.reason)
            await self._history.answered(call.seq, told)
            return None
        await self._history.answered(call.seq, _told(answer))
        if answer.message.HasField("trade"):
            self.tally.note(order, _State.Name(answer.message.trade.state)[6:])
        return answer

    def _call(
        self, order: Order, verb: str, number: str, request: Any, *, amount: int | None
    ) -> Call:
        wanted = getattr(request, "new_trade", None) or getattr(request, "trade", None)
        if wanted is not None and wanted.HasField("amount"):
            amount = wanted.amount.minor_units
        tool = kinds_pb2.Tool.Name(request.tool).removeprefix("TOOL_") if verb == "PayTrade" else ""
        app = self._world.apps[order.app]
        return Call(
            seq=self._history.take_seq(),
            story=order.story,
            verb=verb,
            app=order.app,
            trace_no=order.trace_no,
            number=number,
            amount_minor=order.amount_minor if amount is None else amount,
            currency_code=CURRENCY,
            trade_type="RECHARGE" if order.story is Story.RECHARGE else "COLLECT",
            tool=tool,
            merchant_id=app.merchants[order.merchant] if order.merchant else "",
            user_no=order.user_no,
        )

    async def _settled(self, order: Order, answer: Answer[Any] | None) -> trade_pb2.Trade:
        """Return the trade when its last try has ended, or as it is after SETTLE_S."""
        trade = answer.message.trade if answer else trade_pb2.Trade()
        if answer is None or not _has_ended(answer.message):
            ask = pb.WatchTradeRequest(order_no=order.order_no, after_version=trade.version)
            news = self._callers[order.app].watch(self._doors.trade.WatchTrade, ask)
            try:
                with suppress(TimeoutError):  # Then it is as it is.
                    async with asyncio.timeout(SETTLE_S), aclosing(news):
                        async for seen in news:
                            trade = seen.trade
                            if _has_ended(seen):
                                break
            except CallFailed as error:
                if error.code != "NOT_FOUND":  # Else it failed before there was a trade.
                    raise
        if trade.trade_no:
            self.tally.note(order, _State.Name(trade.state)[6:])
        return trade

    async def _look(self, order: Order) -> trade_pb2.Trade | None:
        found = await self._get(order)
        return found.trade if found else None

    async def _get(self, order: Order) -> pb.GetTradeResponse | None:
        ask = pb.GetTradeRequest(order_no=order.order_no)
        try:
            return (await self._callers[order.app].ask(self._doors.trade.GetTrade, ask)).message
        except CallFailed as error:
            if error.code == "NOT_FOUND":
                return None
            raise

    async def _balance(self, order: Order) -> int:
        ask = pb.GetWalletRequest(user_no=order.user_no, currency_code=CURRENCY)
        answer = await self._callers[order.app].ask(self._doors.trade.GetWallet, ask)
        return answer.message.wallet.balance.minor_units


_Script = Callable[[Driver, Order], Awaitable[object]]
_SCRIPTS: Mapping[Story, _Script] = {
    Story.TWO_STEPS: Driver._pay_in_two_steps,
    Story.WALLET: Driver._pay_from_wallet,
    Story.RECHARGE: Driver._recharge,
    Story.REPEATED: Driver._pay_repeatedly,
    Story.REUSED: Driver._reuse_number,
    Story.BROKE: Driver._pay_when_broke,
    Story.REFUND_WALLET: Driver._pay_and_refund,
    Story.CLOSE_UNTRIED: Driver._close_untried,
    Story.CLOSE_UNPAID: Driver._pay_and_close,
    Story.CLOSE_PAID: Driver._pay_and_close,
    Story.CLOSE_PAYING: Driver._pay_and_close,
    Story.CLOSE_LATE_SUCCESS: Driver._pay_and_close,
    **dict.fromkeys(EXPIRING, Driver._let_expire),
    **{story: Driver._pay_and_refund for story in Story if story.name.startswith("REFUND_")},
}


def _has_ended(found: Any) -> bool:
    """Return whether the last try of a trade has ended; `found` holds trade and payment."""
    return found.trade.state in ENDED or found.payment.state in NOT_CHARGED


def _told(answer: Answer[Any]) -> Told:
    """Return what an answer says, as the history keeps it."""
    message = answer.message
    fields = {field.name for field in message.DESCRIPTOR.fields}
    facts: dict[str, str] = {}
    if "trade" in fields:
        facts["trade_no"] = message.trade.trade_no
        facts["trade_state"] = _State.Name(message.trade.state).removeprefix("STATE_")
    if "payment" in fields:
        facts["payment_no"] = message.payment.payment_no
        facts["payment_state"] = _View.Name(message.payment.state).removeprefix("STATE_")
        facts["failure_reason"] = message.payment.failure_reason
    if "refund" in fields:
        facts["refund_no"] = message.refund.refund_no
        facts["refund_state"] = _Refund.Name(message.refund.state).removeprefix("STATE_")
        facts["failure_reason"] = message.refund.failure_reason
    return Told(code="OK", replayed=answer.replayed, **facts)
