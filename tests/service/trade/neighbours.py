"""Payment, ledger and the other neighbours as scripted gRPC servers: the real contracts.

Each does well what it is asked, once per number, as the real one does, and remembers what it
was asked. A script says how the next items are treated instead: `then(step, …)`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import code_pb2
from grpc_status import rpc_status

from mesh.clock import real_now, to_timestamp
from mesh.crew import Crew
from mesh.errors import Declined, to_status
from mesh.items import answered, each
from tongbao.channel.v1 import channel_service_pb2, channel_service_pb2_grpc
from tongbao.common.v1 import item_pb2, trace_pb2
from tongbao.ledger.v1 import ledger_service_pb2, ledger_service_pb2_grpc
from tongbao.payment.v1 import payment_pb2, payment_service_pb2, payment_service_pb2_grpc
from tongbao.risk.v1 import risk_service_pb2, risk_service_pb2_grpc
from tongbao.settlement.v1 import settlement_service_pb2, settlement_service_pb2_grpc

Payment = payment_pb2.Payment
Refund = payment_pb2.Refund
Step = Callable[[Any], Any]


def refusal(reason: str, domain: str = "payment.tongbao") -> item_pb2.ItemStatus:
    """How an item is refused."""
    code = code_pb2.FAILED_PRECONDITION
    return item_pb2.ItemStatus(code=code, reason=reason, domain=domain, message=reason)


class Traced:
    """What all of them have: a part of the trace, and who asked for it."""

    def __init__(self, name: str, response: Callable[..., Any]) -> None:
        self.name, self._response = name, response
        self.entries: list[trace_pb2.TraceEntry] = []
        self.traced: list[item_pb2.ItemContext] = []

    async def ListTraceEntries(self, request, context):  # noqa: N802
        self.traced.append(request.context)
        assert dict(context.invocation_metadata())["authorization"].startswith("Bearer ")
        return self._response(entries=self.entries)


class PaymentDouble(Traced, payment_service_pb2_grpc.PaymentServiceServicer):
    """Charges and refunds everything at once; a number that comes again is only answered."""

    def __init__(self) -> None:
        super().__init__("payment", payment_service_pb2.ListTraceEntriesResponse)
        self.asked: list[payment_service_pb2.CreatePaymentItem] = []
        self.asked_refunds: list[payment_service_pb2.CreateRefundItem] = []
        self.payments: dict[str, Payment] = {}
        self.refunds: dict[str, Refund] = {}
        self.asked_closes: list[payment_service_pb2.ClosePaymentItem] = []
        self._script: deque[Step] = deque()
        self.crew = Crew()
        self._silent: list[asyncio.Future[None]] = []

    def then(self, *steps: Step) -> None:
        """Treat the next items so, one step each; afterwards well again."""
        self._script.extend(steps)

    def forget(self) -> int:
        """Drop the steps that nobody took; how many they were."""
        left = len(self._script)
        self._script.clear()
        return left

    async def StreamPayments(self, requests, context):  # noqa: N802
        async for pack in answered(
            requests,
            self._pay,
            pack=payment_service_pb2.StreamPaymentsResponse,
            result=payment_service_pb2.CreatePaymentResult,
            crew=self.crew,
        ):
            yield pack

    async def StreamCloses(self, requests, context):  # noqa: N802
        async for pack in answered(
            requests,
            self._close,
            pack=payment_service_pb2.StreamClosesResponse,
            result=payment_service_pb2.ClosePaymentResult,
            crew=self.crew,
        ):
            yield pack

    async def StreamRefunds(self, requests, context):  # noqa: N802
        async for pack in answered(
            requests,
            self._refund,
            pack=payment_service_pb2.StreamRefundsResponse,
            result=payment_service_pb2.CreateRefundResult,
            crew=self.crew,
        ):
            yield pack

    async def _pay(self, item):
        self.asked.append(item)
        payment = await self._treated(item, self.says(Payment.STATE_SUCCEEDED))
        return payment_service_pb2.CreatePaymentResult(payment=payment)

    async def _close(self, item):
        self.asked_closes.append(item)
        order = item.payment
        well = self.becomes(Payment.STATE_CLOSED)
        payment = await self._treated(order, well)
        return payment_service_pb2.ClosePaymentResult(payment=payment)

    async def _refund(self, item):
        self.asked_refunds.append(item)
        refund = await self._treated(item, self.says(Refund.STATE_SUCCEEDED))
        return payment_service_pb2.CreateRefundResult(refund=refund)

    async def _treated(self, item: Any, well: Step) -> Any:
        step = self._script.popleft() if self._script else well
        answer = step(item)
        answer = await answer if asyncio.iscoroutine(answer) else answer
        if isinstance(answer, item_pb2.ItemStatus):
            raise Declined(answer)
        copy = type(answer)()
        copy.CopyFrom(answer)
        return copy

    # Steps of a script.

    def says(self, state: int, **fields: Any) -> Step:
        """A step: it comes to this state, for good."""
        return lambda item: self.now(item, state=state, **fields)

    def becomes(self, state: int, **fields: Any) -> Step:
        """A step: if it is open it comes to this state, for good."""

        def step(item: Any) -> Any:
            known = self.payments.get(item.payment_no, payment_of(item))
            if known.state in (Payment.STATE_CREATED, Payment.STATE_PROCESSING):
                known = self.payments[item.payment_no] = change(known, state=state, **fields)
            return known

        return step

    def refuses(self, reason: str) -> Step:
        """A step: the item is refused."""
        return lambda item: refusal(reason)

    async def is_silent(self, item: Any) -> Any:
        """A step: nothing is done and nothing is answered, as long as the test runs."""
        silence = asyncio.get_running_loop().create_future()
        self._silent.append(silence)
        await silence

    def answers_when(self, gate: asyncio.Event, state: int, **fields: Any) -> Step:
        """A step: it is done, and answered when `gate` opens."""

        async def step(item: Any) -> Any:
            await gate.wait()
            return self.now(item, state=state, **fields)

        return step

    def now(self, item: Any, *, state: int, **fields: Any) -> Any:
        """What stands under the item's number now; made from the item when nothing does."""
        is_refund = isinstance(item, payment_service_pb2.CreateRefundItem)
        shelf: dict[str, Any] = self.refunds if is_refund else self.payments
        number = item.refund_no if is_refund else item.payment_no
        if number not in shelf:
            made = refund_of(item) if is_refund else payment_of(item)
            shelf[number] = change(made, state=state, **fields)
        return shelf[number]

    def close(self) -> None:
        """Let go of whoever waits for an answer that never comes."""
        for silence in self._silent:
            silence.cancel()


class LedgerDouble(Traced, ledger_service_pb2_grpc.LedgerServiceServicer):
    """Opens accounts and knows balances; `down` makes it refuse every account, `misses` makes
    a file of the past be away.
    """

    def __init__(self) -> None:
        super().__init__("ledger", ledger_service_pb2.ListTraceEntriesResponse)
        self.opened: list[tuple[int, str, str, str]] = []
        self.balances: dict[str, int] = {}
        self.down = False
        self.misses = ""
        self.since: list[Timestamp] = []

    async def ListTraceEntries(self, request, context):  # noqa: N802
        self.since.append(request.since)
        if self.misses:
            status = refusal("HISTORY_MISSING", "ledger.tongbao")
            status.metadata["file"] = self.misses
            await context.abort_with_status(rpc_status.to_status(to_status(Declined(status))))
        return await super().ListTraceEntries(request, context)

    async def BatchOpenAccounts(self, request, context):  # noqa: N802
        results = await each(request.items, self._open, ledger_service_pb2.OpenAccountResult)
        return ledger_service_pb2.BatchOpenAccountsResponse(results=results)

    async def BatchGetBalances(self, request, context):  # noqa: N802
        results = await each(request.items, self._balance, ledger_service_pb2.GetBalanceResult)
        return ledger_service_pb2.BatchGetBalancesResponse(results=results)

    async def _open(self, item):
        if self.down:
            raise Declined(refusal("BOOK_UNKNOWN", "ledger.tongbao"))
        key = item.account
        self.opened.append((key.kind, key.owner, key.currency_code, item.context.app_id))
        return ledger_service_pb2.OpenAccountResult()

    async def _balance(self, item):
        key = item.account
        assert any(opened[:3] == (key.kind, key.owner, key.currency_code) for opened in self.opened)
        result = ledger_service_pb2.GetBalanceResult()
        result.balance.currency_code = key.currency_code
        result.balance.minor_units = self.balances.get(key.owner, 0)
        return result


class RiskDouble(Traced, risk_service_pb2_grpc.RiskServiceServicer):
    """Has a part of the trace."""


class ChannelDouble(Traced, channel_service_pb2_grpc.ChannelServiceServicer):
    """Has a part of the trace."""


class SettlementDouble(Traced, settlement_service_pb2_grpc.SettlementServiceServicer):
    """Has a part of the trace."""


class Neighbours:
    """All of them, each on its socket in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.payment, self.ledger = PaymentDouble(), LedgerDouble()
        self.risk = RiskDouble("risk", risk_service_pb2.ListTraceEntriesResponse)
        self.channel = ChannelDouble("channel", channel_service_pb2.ListTraceEntriesResponse)
        self.settlement = SettlementDouble(
            "settlement", settlement_service_pb2.ListTraceEntriesResponse
        )
        self._servers: dict[str, grpc.aio.Server] = {}

    async def __aenter__(self) -> Self:
        for name in ("payment", "ledger", "risk", "channel", "settlement"):
            await self.start(name)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.payment.close()
        await asyncio.gather(*(server.stop(None) for server in self._servers.values()))
        await self.payment.crew.close()

    async def start(self, name: str) -> None:
        """Let one of them listen."""
        adds = {
            "payment": payment_service_pb2_grpc.add_PaymentServiceServicer_to_server,
            "ledger": ledger_service_pb2_grpc.add_LedgerServiceServicer_to_server,
            "risk": risk_service_pb2_grpc.add_RiskServiceServicer_to_server,
            "channel": channel_service_pb2_grpc.add_ChannelServiceServicer_to_server,
            "settlement": settlement_service_pb2_grpc.add_SettlementServiceServicer_to_server,
        }
        server = grpc.aio.server(options=[("grpc.http2.min_ping_interval_without_data_ms", 5000)])
        adds[name](getattr(self, name), server)
        server.add_insecure_port(f"unix:{self.folder / name}.sock")
        await server.start()
        self._servers[name] = server

    async def stop(self, name: str) -> None:
        """Take one of them away: its socket is gone."""
        await self._servers.pop(name).stop(None)


def payment_of(item: payment_service_pb2.CreatePaymentItem) -> Payment:
    """The payment as it is when it was just accepted."""
    now = to_timestamp(real_now())
    return Payment(
        payment_no=item.payment_no,
        trade_no=item.trade_no,
        app_id=item.context.app_id,
        business_code=item.business_code,
        trace_no=item.context.trace_no,
        trade_type=item.trade_type,
        tool=item.tool,
        amount=item.amount,
        merchant_id=item.merchant_id,
        user_no=item.user_no,
        fee_minor=item.fee_minor,
        state=Payment.STATE_CREATED,
        version=1,
        create_time=now,
        update_time=now,
    )


def refund_of(item: payment_service_pb2.CreateRefundItem) -> Refund:
    """The refund as it is when it was just accepted."""
    now = to_timestamp(real_now())
    return Refund(
        refund_no=item.refund_no,
        payment_no=item.payment_no,
        app_id=item.context.app_id,
        trace_no=item.context.trace_no,
        amount=item.amount,
        fee_minor=item.fee_minor,
        state=Refund.STATE_CREATED,
        version=1,
        create_time=now,
        update_time=now,
    )


def change(one: Any, *, state: int, **fields: Any) -> Any:
    """The payment or refund after its next change."""
    after = type(one)()
    after.CopyFrom(one)
    after.state, after.version = state, one.version + 1
    after.update_time.FromDatetime(real_now())
    for name, value in fields.items():
        setattr(after, name, value)
    return after
