"""What the tests of trade share: a business line that was set up, and how it calls."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import grpc
import psycopg

from mesh.clock import real_now
from mesh.context import Acting, acting_as, within
from mesh.db import Database
from mesh.events import pack
from mesh.numbers import lease_numbers
from mesh.serve import Runtime
from mesh.tokens import Signer
from mesh.wire import fingerprint
from tests.service.trade.neighbours import Neighbours, Payment
from tests.services import App, Ground, Handle, info_of
from tongbao.common.v1 import event_pb2, kinds_pb2, money_pb2, options_pb2
from tongbao.ledger.v1 import events_pb2 as ledger_events
from tongbao.ledger.v1 import ledger_pb2
from tongbao.trade.v1 import setup_pb2, trade_pb2
from tongbao.trade.v1 import trade_ops_service_pb2 as ops
from tongbao.trade.v1 import trade_service_pb2 as pb
from tongbao.trade.v1.trade_ops_service_pb2_grpc import TradeOpsServiceStub
from tongbao.trade.v1.trade_service_pb2_grpc import TradeServiceStub
from trade.desk import Desk
from trade.directory import Directory
from trade.flow.create_refund import create_refund
from trade.flow.pay_trade import Paid, pay_trade
from trade.service import SERVICE
from trade.watchers import Watchers
from trade.wire import order_from_proto, try_from_proto

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

    async def close(self, trade: Trade | str, **options: Any) -> Answer:
        """CloseTrade."""
        number = trade if isinstance(trade, str) else trade.trade_no
        return await ask(self.stub.CloseTrade, pb.CloseTradeRequest(trade_no=number), **options)

    async def waiting(self, world: World, qr_code: str = "pay://1") -> Trade:
        """A collection whose payer has a code to scan."""
        world.payment.then(world.payment.says(Payment.STATE_PROCESSING, qr_code=qr_code))
        return (await self.pay()).message.trade

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
    desk: Desk
    stack: AsyncExitStack
    ops: TradeOpsServiceStub = field(init=False)

    def __post_init__(self) -> None:
        self.ops = TradeOpsServiceStub(self.trade.operator())

    @property
    def payment(self):
        return self.neighbours.payment

    @property
    def ledger(self):
        return self.neighbours.ledger

    async def replicas(self, count: int) -> list[Desk]:
        """Desks that share nothing with each other but rows and neighbours."""
        desks = []
        for _ in range(count):
            db = await self.stack.enter_async_context(Database(self.trade.dsn))
            own = {"db": db, "numbers": await lease_numbers(db, self.desk.clock)}
            own |= {"directory": Directory(db), "watchers": Watchers(db, self.ground.nats.url())}
            desks.append(replace(self.desk, **own))
        return desks

    async def tell(self, source: str, *events: Any) -> None:
        """Publish events as a neighbour does; return when their effects are durable."""
        await self.trade.applied(await self.ground.tell(source, *events))

    async def book(self, trade: Trade, *, template: str = "RECHARGED", source_no: str = "") -> None:
        """Say as the ledger does that the trade's payment is in the books."""
        booked = ledger_pb2.Voucher(
            template=template,
            source_no=source_no or trade.payment_no,
            trace_no=trade.trace_no,
            amount=trade.amount,
        )
        number, batch_id = str(uuid.uuid4()), f"ledger-{serial()}"
        event = pack(
            ledger_events.VoucherPosted(voucher=booked),
            number=number,
            version=1,
            app_id=trade.app_id,
            trace_no=trade.trace_no,
            time=real_now(),
        )
        head = event_pb2.EventBatch(batch_id=batch_id).SerializeToString()
        await self.ground.publish("ledger", head + event)
        await self.trade.applied(batch_id)

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

    async def product(
        self, shop: Shop, kind: int, tools: list[int], *, expiry_seconds: int = EXPIRY_SECONDS
    ) -> str:
        code = f"P{serial()}"
        await self.ops.CreateProduct(
            ops.CreateProductRequest(
                request_id=f"product-{code}",
                product_code=code,
                type=kind,
                name="a product",
                tools=tools,
                expiry_seconds=expiry_seconds,
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


@asynccontextmanager
async def running(
    ground: Ground, *, egress_allow_private: bool = True, **settings: Any
) -> AsyncIterator[World]:
    """The service in this process, its neighbours on their sockets."""
    desks: list[Desk] = []

    @asynccontextmanager
    async def opens(runtime: Runtime) -> AsyncIterator[Desk]:
        async with SERVICE.opens(runtime) as desk:
            desks.append(desk)
            yield desk

    service = replace(SERVICE, opens=opens)
    async with (
        ground.run(service, egress_allow_private=egress_allow_private, **settings) as trade,
        Neighbours(trade.settings.socket_dir) as neighbours,
        AsyncExitStack() as stack,
    ):
        yield World(ground, trade, neighbours, desks[0], stack)


@contextmanager
def calling(shop: Shop, *, seconds: float = 20.0) -> Iterator[None]:
    """Act as the door does for a call of the shop's app."""
    owner = Acting(app_id=shop.app.app_id, role=options_pb2.ROLE_APP)
    with acting_as(owner), within(seconds):
        yield


async def pay_at(
    desk: Desk, shop: Shop, request: pb.PayTradeRequest, *, seconds: float = 20.0
) -> Paid:
    """PayTrade at one replica."""
    is_new = request.WhichOneof("target") == "new_trade"
    order = order_from_proto(request.new_trade) if is_new else None
    with calling(shop, seconds=seconds):
        return await pay_trade(
            desk, try_from_proto(request), trade_no=request.trade_no, order=order
        )


async def refund_at(desk: Desk, shop: Shop, request: pb.CreateRefundRequest) -> Any:
    """CreateRefund at one replica."""
    with calling(shop):
        return await create_refund(
            desk,
            refund_order_no=request.refund_order_no,
            fingerprint=fingerprint(request),
            trade_no=request.trade_no,
            amount_minor=request.amount.minor_units,
            currency_code=request.amount.currency_code,
            cause=request.cause,
        )


@asynccontextmanager
async def holding(world: World, sql: str, **params: Any) -> AsyncIterator[Any]:
    """Run `sql` in a transaction that is open during the block, and rolled back after it.

    Yields the connection: whoever commits it lets the others see what was done.
    """
    async with await psycopg.AsyncConnection.connect(world.trade.dsn) as connection:
        await connection.execute("SET idle_in_transaction_session_timeout = 0")
        await connection.execute(sql, params)
        yield connection
        await connection.rollback()


async def together(*calls: Any) -> list[Any]:
    """Results and errors of all calls at once, in order."""
    return await asyncio.gather(*calls, return_exceptions=True)
