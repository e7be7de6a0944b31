"""What the tests of trade share: a business line that was set up, and how it calls."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field
from typing import Any

import grpc

from mesh.tokens import Signer
from tests.service.trade.neighbours import Neighbours
from tests.services import App, Ground, Handle, info_of
from tongbao.common.v1 import kinds_pb2, money_pb2
from tongbao.trade.v1 import setup_pb2
from tongbao.trade.v1 import trade_ops_service_pb2 as ops
from tongbao.trade.v1 import trade_pb2, trade_service_pb2
from tongbao.trade.v1 import trade_service_pb2 as pb
from tongbao.trade.v1.trade_ops_service_pb2_grpc import TradeOpsServiceStub
from tongbao.trade.v1.trade_service_pb2_grpc import TradeServiceStub

QR, BALANCE = kinds_pb2.TOOL_QR_PAYER, kinds_pb2.TOOL_BALANCE
COLLECT, RECHARGE = kinds_pb2.TRADE_TYPE_COLLECT, kinds_pb2.TRADE_TYPE_RECHARGE
RETURN = setup_pb2.FeeTerms.REFUND_POLICY_RETURN
KEEP = setup_pb2.FeeTerms.REFUND_POLICY_KEEP
Trade, Refund, View = trade_pb2.Trade, trade_pb2.Refund, trade_pb2.PaymentView

EXPIRY_SECONDS = 1800
_SERIAL = itertools.count(1)


def serial() -> int:
    """A number that no other test has."""
    return next(_SERIAL)


def money(minor_units: int, currency_code: str = "CNY") -> money_pb2.Money:
    return money_pb2.Money(currency_code=currency_code, minor_units=minor_units)


@dataclass
class Answer:
    """What a call brought: the response, and whether it was marked as a repetition."""

    message: Any
    replayed: bool


async def ask(method: Any, request: Any, **options: Any) -> Answer:
    """Call, and read the trailer too."""
    call = method(request, **options)
    message = await call
    trailer = dict(await call.trailing_metadata() or ())
    return Answer(message, trailer.get("idempotent-replayed") == "true")


async def refused(work: Any) -> tuple[str, dict[str, str]]:
    """Reason and facts of the refusal that `work` ends with."""
    try:
        answer = await work
    except grpc.aio.AioRpcError as error:
        info = info_of(error)
        return info.reason, dict(info.metadata)
    raise AssertionError(f"not refused: {answer}")


async def reason(work: Any) -> str:
    """Reason of the refusal that `work` ends with."""
    return (await refused(work))[0]


@dataclass
class Shop:
    """A business line: its app, its key, its products and merchants, and how it calls."""

    handle: Handle
    app: App
    code: str
    webhook_secret: str = ""
    collect: str = ""
    recharge: str = ""
    merchant_id: str = ""
    stub: TradeServiceStub = field(init=False)

    def __post_init__(self) -> None:
        self.stub = TradeServiceStub(self.handle.app(self.app))

    def at(self, handle: Handle) -> Shop:
        """The same business line, calling another replica."""
        facts = {name: getattr(self, name) for name in ("collect", "recharge", "merchant_id")}
        return Shop(handle, self.app, self.code, self.webhook_secret, **facts)

    def order(self, amount_minor: int = 1000, currency: str = "CNY", **fields: Any) -> pb.NewTrade:
        """A collection, unless told otherwise."""
        wanted = {
            "order_no": f"order-{serial()}",
            "product_code": self.collect,
            "merchant_id": self.merchant_id,
            "subject": "tea",
        }
        return pb.NewTrade(amount=money(amount_minor, currency), **(wanted | fields))

    def top_up(self, amount_minor: int = 1000, user_no: str = "u1", **fields: Any) -> pb.NewTrade:
        """A recharge."""
        own = {"product_code": self.recharge, "merchant_id": "", "user_no": user_no}
        return self.order(amount_minor, **(own | fields))

    async def create(self, order: pb.NewTrade | None = None, **options: Any) -> Trade:
        request = pb.CreateTradeRequest(trade=order or self.order())
        return (await self.stub.CreateTrade(request, **options)).trade

    async def pay(
        self,
        target: pb.NewTrade | Trade | str | None = None,
        *,
        tool: int = QR,
        request_id: str = "",
        **options: Any,
    ) -> Answer:
        """PayTrade of a new order, or of a trade."""
        request = self.payment(target, tool=tool, request_id=request_id)
        return await ask(self.stub.PayTrade, request, **options)

    def payment(
        self, target: Any = None, *, tool: int = QR, request_id: str = ""
    ) -> pb.PayTradeRequest:
        """The request of PayTrade."""
        request = pb.PayTradeRequest(request_id=request_id or f"try-{serial()}", tool=tool)
        if isinstance(target, str):
            request.trade_no = target
        elif isinstance(target, Trade):
            request.trade_no = target.trade_no
        else:
            request.new_trade.CopyFrom(target or self.order())
        return request

    async def paid(self, amount_minor: int = 1000, **fields: Any) -> Trade:
        """A collection that was paid."""
        answer = await self.pay(self.order(amount_minor, **fields))
        assert answer.message.trade.state == Trade.STATE_PAID, answer
        return answer.message.trade

    async def trade(self, one: Trade | str) -> pb.GetTradeResponse:
        """The trade as it is now, with its latest try."""
        number = one if isinstance(one, str) else one.trade_no
        return await self.stub.GetTrade(pb.GetTradeRequest(trade_no=number))

    async def refund(
        self, trade: Trade | str, amount_minor: int, currency: str = "CNY", **options: Any
    ) -> Answer:
        """CreateRefund."""
        return await ask(self.stub.CreateRefund, self.giving_back(trade, amount_minor, currency),
                         **options)  # fmt: skip

    def giving_back(
        self, trade: Trade | str, amount_minor: int, currency: str = "CNY", **fields: Any
    ) -> pb.CreateRefundRequest:
        """The request of CreateRefund."""
        number = trade if isinstance(trade, str) else trade.trade_no
        wanted = {"refund_order_no": f"back-{serial()}", "trade_no": number, "cause": "cold tea"}
        return pb.CreateRefundRequest(amount=money(amount_minor, currency), **(wanted | fields))

    async def refund_now(self, refund: Refund) -> Refund:
        """The refund as it is now."""
        request = pb.GetRefundRequest(refund_no=refund.refund_no)
        return (await self.stub.GetRefund(request)).refund

    async def trace(self, trace_no: str) -> list[Any]:
        """The entries of GetTrace."""
        request = pb.GetTraceRequest(trace_no=trace_no)
        return list((await self.stub.GetTrace(request)).entries)


@dataclass
class World:
    """A running trade service with its neighbours, and its operator."""

    ground: Ground
    trade: Handle
    neighbours: Neighbours
    ops: TradeOpsServiceStub = field(init=False)

    def __post_init__(self) -> None:
        self.ops = TradeOpsServiceStub(self.trade.operator())

    @property
    def payment(self):
        return self.neighbours.payment

    @property
    def ledger(self):
        return self.neighbours.ledger

    async def tell(self, source: str, *events: Any) -> None:
        """Publish events as a neighbour does; return when their effects are durable."""
        await self.trade.applied(await self.ground.tell(source, *events))

    async def shop(self, **terms: Any) -> Shop:
        """A new business line with a product of each type, one merchant and user u1's wallet."""
        shop = await self.bare_shop(webhook_url=terms.pop("webhook_url", ""))
        shop.collect = await self.product(shop, COLLECT, [QR, BALANCE])
        shop.recharge = await self.product(shop, RECHARGE, [QR])
        shop.merchant_id = await self.merchant(shop, **terms)
        await shop.stub.OpenWallet(pb.OpenWalletRequest(user_no="u1", currency_code="CNY"))
        return shop

    async def bare_shop(self, *, webhook_url: str = "") -> Shop:
        """A business line with nothing but its key."""
        code = f"S{serial()}"
        app = self.ground.app("not known yet")
        made = await self.ops.CreateApp(
            ops.CreateAppRequest(
                request_id=f"app-{code}",
                business_code=code,
                name="a shop",
                public_key_pem=app.pem,
                webhook_url=webhook_url,
            )
        )
        signer = Signer(made.app.app_id, app.signer._key)
        known = App(made.app.app_id, signer, app.pem)
        return Shop(self.trade, known, code, made.webhook_secret)

    async def product(self, shop: Shop, kind: int, tools: list[int]) -> str:
        code = f"P{serial()}"
        await self.ops.CreateProduct(
            ops.CreateProductRequest(
                request_id=f"product-{code}",
                product_code=code,
                type=kind,
                name="a product",
                tools=tools,
                expiry_seconds=EXPIRY_SECONDS,
                app_ids=[shop.app.app_id],
            )
        )
        return code

    async def merchant(
        self,
        shop: Shop,
        *,
        rate_ppm: int = 6000,
        least_minor: int = 0,
        policy: int = RETURN,
        currencies: tuple[str, ...] = ("CNY",),
    ) -> str:
        made = await self.ops.CreateMerchant(
            ops.CreateMerchantRequest(
                request_id=f"merchant-{serial()}",
                app_id=shop.app.app_id,
                name="a merchant",
                currency_codes=currencies,
                fee=setup_pb2.FeeTerms(
                    rate_ppm=rate_ppm, least_minor=least_minor, refund_policy=policy
                ),
            )
        )
        return made.merchant.merchant_id


async def together(*calls: Any) -> list[Any]:
    """Results and errors of all calls at once, in order."""
    return await asyncio.gather(*calls, return_exceptions=True)
