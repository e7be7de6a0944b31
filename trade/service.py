"""The gRPC doors: read the request, run one flow, answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mesh.door import Context
from mesh.limits import Limits
from mesh.lists import Page
from mesh.replays import mark
from mesh.serve import Door, Runtime, Service
from mesh.wire import fingerprint
from tongbao.channel.v1 import channel_service_pb2 as channel
from tongbao.channel.v1.channel_service_pb2_grpc import ChannelServiceStub
from tongbao.ledger.v1 import ledger_service_pb2 as ledger
from tongbao.ledger.v1.ledger_service_pb2_grpc import LedgerServiceStub
from tongbao.payment.v1 import payment_service_pb2 as payment
from tongbao.payment.v1.payment_service_pb2_grpc import PaymentServiceStub
from tongbao.risk.v1 import risk_service_pb2 as risk
from tongbao.risk.v1.risk_service_pb2_grpc import RiskServiceStub
from tongbao.settlement.v1 import settlement_service_pb2 as settlement
from tongbao.settlement.v1.settlement_service_pb2_grpc import SettlementServiceStub
from tongbao.trade.v1 import app_service_pb2 as own
from tongbao.trade.v1 import trade_ops_service_pb2 as ops
from tongbao.trade.v1 import trade_service_pb2 as pb
from tongbao.trade.v1.app_service_pb2_grpc import add_AppServiceServicer_to_server
from tongbao.trade.v1.trade_ops_service_pb2_grpc import (
    TradeOpsServiceServicer,
    add_TradeOpsServiceServicer_to_server,
)
from tongbao.trade.v1.trade_service_pb2_grpc import (
    TradeServiceServicer,
    add_TradeServiceServicer_to_server,
)
from trade.app_door import AppService
from trade.desk import Desk, TraceLink
from trade.directory import Directory
from trade.egress import Egress
from trade.filters import refund_filter_from_proto, trade_filter_from_proto
from trade.flow.close_trade import close_trade
from trade.flow.create_app import create_app
from trade.flow.create_merchant import create_merchant
from trade.flow.create_product import create_product
from trade.flow.get_refund import get_refund
from trade.flow.get_trace import get_trace
from trade.flow.get_wallet import get_wallet
from trade.flow.list_refunds import list_refunds
from trade.flow.list_trades import list_trades
from trade.flow.open_wallet import open_wallet
from trade.flow.put_app_limits import put_app_limits
from trade.flow.watch_trade import watch_trade
from trade.store.measures import MEASURES
from trade.verbs import (
    CREATE_REFUND,
    CREATE_TRADE,
    GET_TRADE,
    PAY_TRADE,
    batched,
    single,
    streamed,
)
from trade.watchers import Watchers
from trade.wire import (
    app_to_proto,
    merchant_to_proto,
    payment_view_to_proto,
    policy_from_proto,
    product_to_proto,
    refund_to_proto,
    tool_from_proto,
    trade_to_proto,
    type_from_proto,
    wallet_to_proto,
)
from trade.workers import DUE, EVENTS


class TradeService(TradeServiceServicer):
    """For apps. Each method is the verb of the same name in `trade/flow/`."""

    CreateTrade = single(CREATE_TRADE)
    BatchCreateTrades = batched(CREATE_TRADE)
    StreamCreateTrades = streamed(CREATE_TRADE)
    PayTrade = single(PAY_TRADE)
    BatchPayTrades = batched(PAY_TRADE)
    StreamPayTrades = streamed(PAY_TRADE)
    CreateRefund = single(CREATE_REFUND)
    BatchCreateRefunds = batched(CREATE_REFUND)
    StreamCreateRefunds = streamed(CREATE_REFUND)
    GetTrade = single(GET_TRADE)
    BatchGetTrades = batched(GET_TRADE)
    StreamGetTrades = streamed(GET_TRADE)

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def OpenWallet(  # noqa: N802
        self, request: pb.OpenWalletRequest, context: Context
    ) -> pb.OpenWalletResponse:
        """Opens a wallet; see the contract."""
        wallet, balance_minor, replayed = await open_wallet(
            self._desk, user_no=request.user_no, currency_code=request.currency_code
        )
        mark(context, replayed=replayed)
        return pb.OpenWalletResponse(wallet=wallet_to_proto(wallet, balance_minor=balance_minor))

    async def GetWallet(  # noqa: N802
        self, request: pb.GetWalletRequest, context: Context
    ) -> pb.GetWalletResponse:
        """Returns a wallet with its balance; see the contract."""
        wallet, balance_minor = await get_wallet(
            self._desk, user_no=request.user_no, currency_code=request.currency_code
        )
        return pb.GetWalletResponse(wallet=wallet_to_proto(wallet, balance_minor=balance_minor))

    async def ListTrades(  # noqa: N802
        self, request: pb.ListTradesRequest, context: Context
    ) -> pb.ListTradesResponse:
        """Lists trades; see the contract."""
        page = Page.of(request)
        trades, token = await list_trades(self._desk, trade_filter_from_proto(request), page)
        told = [trade_to_proto(trade) for trade in trades]
        return pb.ListTradesResponse(trades=told, next_page_token=token)

    async def ListRefunds(  # noqa: N802
        self, request: pb.ListRefundsRequest, context: Context
    ) -> pb.ListRefundsResponse:
        """Lists refunds; see the contract."""
        page = Page.of(request)
        refunds, token = await list_refunds(self._desk, refund_filter_from_proto(request), page)
        told = [refund_to_proto(refund) for refund in refunds]
        return pb.ListRefundsResponse(refunds=told, next_page_token=token)

    async def WatchTrade(  # noqa: N802
        self, request: pb.WatchTradeRequest, context: Context
    ) -> AsyncIterator[pb.WatchTradeResponse]:
        """Streams a trade as it changes; see the contract."""
        async for trade in watch_trade(
            self._desk,
            trade_no=request.trade_no,
            order_no=request.order_no,
            after_version=request.after_version,
        ):
            yield pb.WatchTradeResponse(
                trade=trade_to_proto(trade), payment=payment_view_to_proto(trade)
            )

    async def CloseTrade(  # noqa: N802
        self, request: pb.CloseTradeRequest, context: Context
    ) -> pb.CloseTradeResponse:
        """Ends a trade that is not paid; see the contract."""
        trade, replayed = await close_trade(
            self._desk, trade_no=request.trade_no, order_no=request.order_no
        )
        mark(context, replayed=replayed)
        return pb.CloseTradeResponse(
            trade=trade_to_proto(trade), payment=payment_view_to_proto(trade)
        )

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
        mark(context, replayed=replayed)
        return ops.CreateAppResponse(app=app_to_proto(app), webhook_secret=secret)

    async def PutAppLimits(  # noqa: N802
        self, request: ops.PutAppLimitsRequest, context: Context
    ) -> ops.PutAppLimitsResponse:
        """Sets how much an app may ask; see the contract."""
        told = request.limits
        limits = Limits(
            per_second=told.per_second,
            burst=told.burst,
            in_flight=told.in_flight,
            streams=told.streams,
        )
        await put_app_limits(self._desk, app_id=request.app_id, limits=limits)
        return ops.PutAppLimitsResponse(limits=told)

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
        mark(context, replayed=replayed)
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
        mark(context, replayed=replayed)
        return ops.CreateProductResponse(product=product_to_proto(product))


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
            watchers=Watchers(runtime.db, runtime.settings.nats_url or ""),
            egress=egress,
            payments=runtime.stream_link(
                "payment",
                method="/tongbao.payment.v1.PaymentService/StreamPayments",
                request=payment.StreamPaymentsRequest,
                response=payment.StreamPaymentsResponse,
            ),
            closes=runtime.stream_link(
                "payment",
                method="/tongbao.payment.v1.PaymentService/StreamCloses",
                request=payment.StreamClosesRequest,
                response=payment.StreamClosesResponse,
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
            descriptor=own.DESCRIPTOR.services_by_name["AppService"],
            add=add_AppServiceServicer_to_server,
            servicer=AppService,
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
    measures=MEASURES,
    tasks=[lambda desk: desk.watchers.run(), lambda desk: desk.watchers.listen()],
    apps=lambda desk: desk.directory.keys_of,
    limits=lambda desk: desk.directory.limits_of,
)
