"""Gathers what the checker judges, from public rpcs, the simulator and our own files."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Protocol

from google.protobuf.timestamp_pb2 import Timestamp

from checker.evidence import Balance, Call, Entry, Evidence, RefundNow, Terms, TradeNow
from demo.client import CallFailed
from demo.receiver import Receiver
from demo.stage import Stage
from demo.world import COST_PPM, CURRENCY, WALLET_USERS, World
from tongbao.common.v1 import trace_pb2
from tongbao.ledger.v1 import ledger_ops_service_pb2 as ledger_pb
from tongbao.trade.v1 import trade_pb2
from tongbao.trade.v1 import trade_service_pb2 as pb

_AT_ONCE = 8
PROOF_S = 120.0


class Calls(Protocol):
    """Whatever remembers the calls that were made."""

    def calls(self) -> Sequence[Call]: ...


class Collector:
    """Reads what a running installation shows about the orders of a history."""

    def __init__(self, stage: Stage, world: World) -> None:
        self._stage, self._world = stage, world
        self._callers = {name: world.caller(name) for name in world.apps}
        self._turn = asyncio.Semaphore(_AT_ONCE)

    async def trace(self, trace_no: str) -> tuple[Entry, ...]:
        """Return what GetTrace shows; nothing when the trace does not exist."""
        request = pb.GetTraceRequest(trace_no=trace_no)
        try:
            async with self._turn:
                answer = await self._stage.operator.ask(self._stage.doors.trade.GetTrace, request)
        except CallFailed as error:
            if error.code == "NOT_FOUND":
                return ()
            raise
        return tuple(map(_entry, answer.message.entries))

    async def evidence(self, history: Calls, receiver: Receiver) -> Evidence:
        """Return everything together. Nothing should move meanwhile. Raises CallFailed."""
        calls = history.calls()
        traces = await self.traces(calls)
        numbers = {"trade": set[tuple[str, str]](), "refund": set[tuple[str, str]]()}
        for trace_no, entries in traces.items():
            for one in entries:
                if one.service == "trade" and one.kind in numbers:
                    numbers[one.kind].add((trace_no.partition("-")[0], one.number))
        trades = await asyncio.gather(*(self._trade(*one) for one in sorted(numbers["trade"])))
        refunds = await asyncio.gather(*(self._refund(*one) for one in sorted(numbers["refund"])))
        return Evidence(
            calls=calls,
            movements=await self._stage.simulator.truth(),
            deliveries=receiver.deliveries(),
            traces=traces,
            trades={trade.trade_no: trade for trade in trades},
            refunds={refund.refund_no: refund for refund in refunds},
            wallets=await self._wallets(calls),
            trial=await self._trial(),
            proof=await self._proof(),
            cost_ppm=COST_PPM,
            terms={
                merchant_id: Terms(
                    rate_ppm=plan.rate_ppm, least_minor=plan.least_minor, policy=plan.policy
                )
                for merchant_id, plan in self._world.terms().items()
            },
        )

    async def traces(self, calls: Iterable[Call]) -> dict[str, tuple[Entry, ...]]:
        """Return the traces of all orders, by trace number."""
        trace_nos = list(dict.fromkeys(call.trace_no for call in calls))
        found = await asyncio.gather(*map(self.trace, trace_nos))
        return dict(zip(trace_nos, found, strict=True))

    async def _trade(self, app: str, trade_no: str) -> TradeNow:
        request = pb.GetTradeRequest(trade_no=trade_no)
        async with self._turn:
            answer = await self._callers[app].ask(self._stage.doors.trade.GetTrade, request)
        trade = answer.message.trade
        return TradeNow(
            trade_no=trade.trade_no,
            trace_no=trade.trace_no,
            state=trade_pb2.Trade.State.Name(trade.state).removeprefix("STATE_"),
            version=trade.version,
            amount_minor=trade.amount.minor_units,
            refunded_minor=trade.refunded_amount.minor_units,
            currency_code=trade.amount.currency_code,
            merchant_id=trade.merchant_id,
            user_no=trade.user_no,
        )

    async def _refund(self, app: str, refund_no: str) -> RefundNow:
        request = pb.GetRefundRequest(refund_no=refund_no)
        async with self._turn:
            answer = await self._callers[app].ask(self._stage.doors.trade.GetRefund, request)
        refund = answer.message.refund
        return RefundNow(
            refund_no=refund.refund_no,
            trade_no=refund.trade_no,
            trace_no=refund.trace_no,
            state=trade_pb2.Refund.State.Name(refund.state).removeprefix("STATE_"),
            version=refund.version,
            amount_minor=refund.amount.minor_units,
            currency_code=refund.amount.currency_code,
        )

    async def _wallets(self, calls: Sequence[Call]) -> list[Balance]:
        wallets = sorted({(one.app, one.user_no) for one in calls if one.user_no in WALLET_USERS})
        return list(await asyncio.gather(*(self._wallet(*wallet) for wallet in wallets)))

    async def _wallet(self, app: str, user_no: str) -> Balance:
        request = pb.GetWalletRequest(user_no=user_no, currency_code=CURRENCY)
        async with self._turn:
            answer = await self._callers[app].ask(self._stage.doors.trade.GetWallet, request)
        return Balance(
            kind="WALLET",
            owner=f"{app}/{user_no}",
            currency_code=CURRENCY,
            debit_minor=0,
            credit_minor=answer.message.wallet.balance.minor_units,
        )

    async def _trial(self) -> list[Balance]:
        request, door = ledger_pb.GetTrialBalanceRequest(), self._stage.doors.ledger_ops
        answer = await self._stage.operator.ask(door.GetTrialBalance, request)
        return [
            Balance(
                kind=line.kind,
                owner=line.owner,
                currency_code=line.currency_code,
                debit_minor=line.debit_minor,
                credit_minor=line.credit_minor,
            )
            for line in answer.message.lines
        ]

    async def _proof(self) -> list[str]:
        request, door = ledger_pb.ProveBookRequest(), self._stage.doors.ledger_ops
        answer = await self._stage.operator.ask(door.ProveBook, request, seconds=PROOF_S)
        return [f"{one.check} {one.place}: {one.detail}" for one in answer.message.findings]


def _entry(one: trace_pb2.TraceEntry) -> Entry:
    return Entry(
        service=one.service,
        kind=one.kind,
        number=one.number,
        state=one.state,
        amount_minor=one.amount.minor_units,
        currency_code=one.amount.currency_code,
        create_time=_time(one.create_time),
        update_time=_time(one.update_time),
        due_time=_time(one.due_time) if one.HasField("due_time") else "",
        facts=dict(one.facts),
    )


def _time(stamp: Timestamp) -> str:
    return str(stamp.ToJsonString())
