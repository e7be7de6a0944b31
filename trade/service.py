"""The gRPC doors: read the request, run one flow, answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from mesh.door import Context
from mesh.errors import to_item_status
from mesh.serve import Door, Runtime, Service
from mesh.wire import fingerprint
from tongbao.channel.v1 import channel_service_pb2 as channel
from tongbao.channel.v1.channel_service_pb2_grpc import ChannelServiceStub
from tongbao.common.v1 import item_pb2
from tongbao.ledger.v1 import ledger_service_pb2 as ledger
from tongbao.ledger.v1.ledger_service_pb2_grpc import LedgerServiceStub
from tongbao.payment.v1 import payment_service_pb2 as payment
from tongbao.payment.v1.payment_service_pb2_grpc import PaymentServiceStub
from tongbao.risk.v1 import risk_service_pb2 as risk
from tongbao.risk.v1.risk_service_pb2_grpc import RiskServiceStub
from tongbao.settlement.v1 import settlement_service_pb2 as settlement
from tongbao.settlement.v1.settlement_service_pb2_grpc import SettlementServiceStub
from tongbao.trade.v1 import trade_ops_service_pb2 as ops
from tongbao.trade.v1 import trade_service_pb2 as pb
from tongbao.trade.v1.trade_ops_service_pb2_grpc import (
    TradeOpsServiceServicer,
    add_TradeOpsServiceServicer_to_server,
)
from tongbao.trade.v1.trade_service_pb2_grpc import (
    TradeServiceServicer,
    add_TradeServiceServicer_to_server,
)
from trade.desk import Desk, TraceLink
from trade.directory import Directory
from trade.egress import Egress
from trade.flow.batch_pay_trades import batch_pay_trades
from trade.flow.create_app import create_app
from trade.flow.create_merchant import create_merchant
from trade.flow.create_product import create_product
from trade.flow.create_refund import create_refund
from trade.flow.create_trade import create_trade
from trade.flow.get_refund import get_refund
from trade.flow.get_trace import get_trace
from trade.flow.get_trade import get_trade
from trade.flow.get_wallet import get_wallet
from trade.flow.open_wallet import open_wallet
from trade.flow.pay_trade import Paid, pay_trade
from trade.model import Order, Try
from trade.wire import (
    app_to_proto,
    failed_view_to_proto,
    merchant_to_proto,
    order_from_proto,
    payment_view_to_proto,
    policy_from_proto,
    product_to_proto,
    refund_to_proto,
    tool_from_proto,
    trade_to_proto,
    try_from_proto,
    type_from_proto,
    wallet_to_proto,
)
from trade.workers import DUE, EVENTS

log = structlog.get_logger()


class TradeService(TradeServiceServicer):
    """For apps. Each method is the verb of the same name in `trade/flow/`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def OpenWallet(  # noqa: N802
        self, request: pb.OpenWalletRequest, context: Context
    ) -> pb.OpenWalletResponse:
        """Opens a wallet; see the contract."""
        wallet, balance_minor, replayed = await open_wallet(
            self._desk, user_no=request.user_no, currency_code=request.currency_code
        )
        _mark(context, replayed=replayed)
        return pb.OpenWalletResponse(wallet=wallet_to_proto(wallet, balance_minor=balance_minor))

    async def GetWallet(  # noqa: N802
        self, request: pb.GetWalletRequest, context: Context
    ) -> pb.GetWalletResponse:
        """Returns a wallet with its balance; see the contract."""
        wallet, balance_minor = await get_wallet(
            self._desk, user_no=request.user_no, currency_code=request.currency_code
        )
        return pb.GetWalletResponse(wallet=wallet_to_proto(wallet, balance_minor=balance_minor))

    async def CreateTrade(  # noqa: N802
        self, request: pb.CreateTradeRequest, context: Context
    ) -> pb.CreateTradeResponse:
        """Accepts an order; see the contract."""
        trade, replayed = await create_trade(self._desk, order_from_proto(request.trade))
        _mark(context, replayed=replayed)
        return pb.CreateTradeResponse(trade=trade_to_proto(trade))

    async def PayTrade(  # noqa: N802
        self, request: pb.PayTradeRequest, context: Context
    ) -> pb.PayTradeResponse:
        """Tries to pay a trade; see the contract."""
        tried, trade_no, order = _wanted(request)
        paid = await pay_trade(self._desk, tried, trade_no=trade_no, order=order)
        _mark(context, replayed=paid.replayed)
        return _paid(paid, tried)

    async def BatchPayTrades(  # noqa: N802
        self, request: pb.BatchPayTradesRequest, context: Context
    ) -> pb.BatchPayTradesResponse:
        """Tries to pay many trades; see the contract."""
        items = [_wanted(item) for item in request.items]
        settled = await batch_pay_trades(self._desk, items)
        results = [
            pb.PayTradeResult(response=_paid(one, tried))
            if isinstance(one, Paid)
            else pb.PayTradeResult(status=_problem(one))
            for one, (tried, _, _) in zip(settled, items, strict=True)
        ]
        return pb.BatchPayTradesResponse(results=results)

    async def GetTrade(  # noqa: N802
        self, request: pb.GetTradeRequest, context: Context
    ) -> pb.GetTradeResponse:
        """Returns one trade; see the contract."""
        trade = await get_trade(self._desk, trade_no=request.trade_no, order_no=request.order_no)
        return pb.GetTradeResponse(
            trade=trade_to_proto(trade), payment=payment_view_to_proto(trade)
        )

    async def CreateRefund(  # noqa: N802
        self, request: pb.CreateRefundRequest, context: Context
    ) -> pb.CreateRefundResponse:
        """Gives money of a trade back; see the contract."""
        refund, trade, replayed = await create_refund(
            self._desk,
            refund_order_no=request.refund_order_no,
            fingerprint=fingerprint(request),
            trade_no=request.trade_no,
            amount_minor=request.amount.minor_units,
            currency_code=request.amount.currency_code,
            cause=request.cause,
        )
        _mark(context, replayed=replayed)
        return pb.CreateRefundResponse(refund=refund_to_proto(refund), trade=trade_to_proto(trade))

    async def GetRefund(  # noqa: N802
        self, request: pb.GetRefundRequest, context: Context
    ) -> pb.GetRefundResponse:
        """Returns one refund; see the contract."""
        refund = await get_refund(
            self._desk, refund_no=request.refund_no, refund_order_no=request.refund_order_no
        )
        return pb.GetRefundResponse(refund=refund_to_proto(refund))

    async def GetTrace(  # noqa: N802
        self, request: pb.GetTraceRequest, context: Context
    ) -> pb.GetTraceResponse:
        """Returns everything that belongs to a trace number; see the contract."""
        entries = await get_trace(self._desk, trace_no=request.trace_no)
        return pb.GetTraceResponse(entries=entries)


class TradeOpsService(TradeOpsServiceServicer):
    """For operators."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def CreateApp(  # noqa: N802
        self, request: ops.CreateAppRequest, context: Context
    ) -> ops.CreateAppResponse:
        """Admits a business line; see the contract."""
        app, secret, replayed = await create_app(
            self._desk,
            request_id=request.request_id,
            fingerprint=fingerprint(request),
            business_code=request.business_code,
            name=request.name,
            public_key_pem=request.public_key_pem,
            webhook_url=request.webhook_url,
        )
        _mark(context, replayed=replayed)
        return ops.CreateAppResponse(app=app_to_proto(app), webhook_secret=secret)

    async def CreateMerchant(  # noqa: N802
        self, request: ops.CreateMerchantRequest, context: Context
    ) -> ops.CreateMerchantResponse:
        """Admits a merchant; see the contract."""
        merchant, replayed = await create_merchant(
            self._desk,
            request_id=request.request_id,
            fingerprint=fingerprint(request),
            app_id=request.app_id,
            name=request.name,
            currency_codes=tuple(request.currency_codes),
            rate_ppm=request.fee.rate_ppm,
            least_minor=request.fee.least_minor,
            refund_policy=policy_from_proto(request.fee.refund_policy),
        )
        _mark(context, replayed=replayed)
        return ops.CreateMerchantResponse(merchant=merchant_to_proto(merchant))

    async def CreateProduct(  # noqa: N802
        self, request: ops.CreateProductRequest, context: Context
    ) -> ops.CreateProductResponse:
        """Makes a kind of trade available; see the contract."""
        product, replayed = await create_product(
            self._desk,
            request_id=request.request_id,
            fingerprint=fingerprint(request),
            product_code=request.product_code,
            kind=type_from_proto(request.type),
            name=request.name,
            tools=tuple(tool_from_proto(tool) for tool in request.tools),
            expiry_seconds=request.expiry_seconds,
            app_ids=tuple(request.app_ids),
        )
        _mark(context, replayed=replayed)
        return ops.CreateProductResponse(product=product_to_proto(product))


def _mark(context: Context, *, replayed: bool) -> None:
    if replayed:
        context.set_trailing_metadata((("idempotent-replayed", "true"),))


def _wanted(request: pb.PayTradeRequest) -> tuple[Try, str, Order | None]:
    """Return the try and what it pays: a trade's number, or an order."""
    is_new = request.WhichOneof("target") == "new_trade"
    order = order_from_proto(request.new_trade) if is_new else None
    return try_from_proto(request), request.trade_no, order


def _problem(error: Exception) -> item_pb2.ItemStatus:
    """Return how an item failed; a bug is logged under the id that its caller gets."""
    status = to_item_status(error)
    if status.reason == "INTERNAL":
        log.error("item_broke", status=status.message, exc_info=error)
    return status


def _paid(paid: Paid, tried: Try) -> pb.PayTradeResponse:
    is_latest = paid.payment_no == paid.trade.payment_no
    view = (
        payment_view_to_proto(paid.trade)
        if is_latest
        else failed_view_to_proto(paid.payment_no, tried.tool)
    )
    return pb.PayTradeResponse(trade=trade_to_proto(paid.trade), payment=view)


@asynccontextmanager
async def open_desk(runtime: Runtime) -> AsyncIterator[Desk]:
    """Yield the desk of a running service."""
    traces = {
        "risk": (RiskServiceStub, risk.ListTraceEntriesRequest),
        "payment": (PaymentServiceStub, payment.ListTraceEntriesRequest),
        "channel": (ChannelServiceStub, channel.ListTraceEntriesRequest),
        "ledger": (LedgerServiceStub, ledger.ListTraceEntriesRequest),
        "settlement": (SettlementServiceStub, settlement.ListTraceEntriesRequest),
    }
    async with Egress(allow_private=runtime.settings.egress_allow_private) as egress:
        yield Desk(
            db=runtime.db,
            clock=runtime.clock,
            numbers=runtime.numbers,
            crew=runtime.crew,
            seal=runtime.seal,
            directory=Directory(runtime.db),
            egress=egress,
            payments=runtime.stream_link(
                "payment",
                method="/tongbao.payment.v1.PaymentService/StreamPayments",
                request=payment.StreamPaymentsRequest,
                response=payment.StreamPaymentsResponse,
            ),
            refunds=runtime.stream_link(
                "payment",
                method="/tongbao.payment.v1.PaymentService/StreamRefunds",
                request=payment.StreamRefundsRequest,
                response=payment.StreamRefundsResponse,
            ),
            accounts=runtime.batch_link(
                "ledger",
                method="/tongbao.ledger.v1.LedgerService/BatchOpenAccounts",
                request=ledger.BatchOpenAccountsRequest,
                response=ledger.BatchOpenAccountsResponse,
            ),
            balances=runtime.batch_link(
                "ledger",
                method="/tongbao.ledger.v1.LedgerService/BatchGetBalances",
                request=ledger.BatchGetBalancesRequest,
                response=ledger.BatchGetBalancesResponse,
            ),
            traces={
                name: TraceLink(runtime.stub(name, stub), request, runtime.signer)
                for name, (stub, request) in traces.items()
            },
        )


SERVICE = Service(
    name="trade",
    opens=open_desk,
    doors=[
        Door(
            descriptor=pb.DESCRIPTOR.services_by_name["TradeService"],
            add=add_TradeServiceServicer_to_server,
            servicer=TradeService,
            public=True,
        ),
        Door(
            descriptor=ops.DESCRIPTOR.services_by_name["TradeOpsService"],
            add=add_TradeOpsServiceServicer_to_server,
            servicer=TradeOpsService,
            public=True,
        ),
    ],
    events=EVENTS,
    due=DUE,
    apps=lambda desk: desk.directory.keys_of,
)
