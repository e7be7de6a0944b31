"""A business line with the whole platform behind it: six services, a provider, a receiver.

Nothing is scripted. Faults are the simulator's, by the last digits of amounts (sim/README.md).
"""

import itertools
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from mesh.wire import money
from tests.service.channel.world import World as ChannelWorld
from tests.service.payment.office import Office
from tests.service.trade.receiver import Receiver
from tests.service.trade.shop import Shop
from tests.services import Ground, Handle
from tests.simulator import Simulator, free_port, start_simulator
from tests.waiting import eventually
from tongbao.channel.v1 import attempt_pb2
from tongbao.channel.v1 import channel_ops_service_pb2 as channel_pb
from tongbao.channel.v1.channel_ops_service_pb2_grpc import ChannelOpsServiceStub
from tongbao.common.v1 import kinds_pb2
from tongbao.ledger.v1 import ledger_ops_service_pb2 as ledger_pb
from tongbao.ledger.v1.ledger_ops_service_pb2_grpc import LedgerOpsServiceStub
from tongbao.trade.v1 import setup_pb2, trade_pb2
from tongbao.trade.v1 import trade_ops_service_pb2 as ops_pb
from tongbao.trade.v1 import trade_service_pb2 as pb
from tongbao.trade.v1.trade_ops_service_pb2_grpc import TradeOpsServiceStub

SERVICES = ("ledger", "risk", "settlement", "channel", "payment", "trade")
QR, BALANCE = kinds_pb2.TOOL_QR_PAYER, kinds_pb2.TOOL_BALANCE
RATE_PPM, COST_PPM = 6_000, 3_800
Trade = trade_pb2.Trade
_serial = itertools.count(1)


@dataclass
class Mall:
    """What a test has of it: the shop that calls, every service, the provider, the office."""

    ground: Ground
    services: dict[str, Handle]
    simulator: Simulator
    receiver: Receiver
    shop: Shop
    office: Office
    callback_port: int

    async def order(self, amount_minor: int, **fields: Any) -> Trade:
        """A collection by code, tried once; its state is whatever it is by then."""
        return (await self.shop.pay(self.shop.order(amount_minor, **fields))).message.trade

    async def now(self, trade: Trade) -> Trade:
        """The trade as it is now."""
        return (await self.shop.trade(trade)).trade

    async def until(self, trade: Trade, state: str) -> Trade:
        """The trade, once it is in `state`."""
        sql = "SELECT state FROM trade WHERE trade_no = %(no)s"
        rows = self.services["trade"].rows
        await eventually(lambda: rows(sql, no=trade.trade_no) == [(state,)])
        return await self.now(trade)

    async def case(self, kind: str):
        """The one case of this kind, once it is there."""
        rows = self.services["payment"].rows
        sql = "SELECT count(*) FROM exception_case WHERE kind = %(kind)s"
        await eventually(lambda: rows(sql, kind=kind) == [(1,)])
        return await self.office.only_case(kinds=[kind])

    def books(self) -> dict[str, int]:
        """What every account has, credits positive; the merchant is called `merchant`."""
        rows = self.services["ledger"].rows("""
            SELECT name, credit - debit FROM account JOIN balance USING (account_id)
            WHERE credit <> debit
        """)
        return {name.replace(self.shop.merchant_id, "merchant"): value for name, value in rows}

    async def booked(self, **wanted: int) -> None:
        """Return once the books say exactly this; `__` stands for `:`, CNY is left out."""
        await self.booked_in(
            {f"{name.replace('__', ':')}:CNY": value for name, value in wanted.items()}
        )

    async def booked_in(self, wanted: dict[str, int]) -> None:
        """The same with the names as they are."""
        try:
            await eventually(lambda: self.books() == wanted)
        except BaseException:
            print("the books say", self.books(), "not", wanted)
            raise
        assert sum(self.books().values()) == 0

    async def calls_back(self, attempt_no: str, state: str, **content: Any) -> None:
        """Say something about a charge as its provider would, correctly signed."""
        world = ChannelWorld(self.ground, self.simulator, None)
        world.port, world.handle = self.callback_port, self.services["channel"]
        async with aiohttp.ClientSession() as world.http:
            attempt = attempt_pb2.Attempt(attempt_no=attempt_no)
            told = {"currency": "CNY"} | content
            assert await world.say(attempt, state=state, **told) == 200

    async def proves(self) -> None:
        """The trial balance is zero and the journal proves itself."""
        stub = LedgerOpsServiceStub(self.services["ledger"].operator())
        trial = await stub.GetTrialBalance(ledger_pb.GetTrialBalanceRequest())
        sums: Counter[str] = Counter()
        for line in trial.lines:
            sums[line.currency_code] += line.debit_minor - line.credit_minor
        assert not any(sums.values()), sums
        assert list((await stub.ProveBook(ledger_pb.ProveBookRequest())).findings) == []

    def told(self, trade: Trade) -> list[str]:
        """Types of the webhooks about the trade, in order of arrival, repeats left out."""
        seen: dict[str, str] = {}
        for one in self.receiver.came:
            if one.id.startswith(trade.trade_no):
                seen.setdefault(one.id, one.content["type"])
        return list(seen.values())

    async def webhook_amount(self, trade: Trade) -> str:
        """The amount as the first webhook about the trade has it, in protobuf's JSON."""
        await eventually(lambda: self.told(trade))
        [first, *_] = [one for one in self.receiver.came if one.id.startswith(trade.trade_no)]
        return str(first.content["data"]["amount"]["minorUnits"])

    async def truth(self) -> list[dict]:
        """Every order as the provider has it."""
        return await self.simulator.truth()

    async def shift(self, by: str) -> None:
        """Move the business time of every service forward."""
        for handle in self.services.values():
            await handle.shift(by)

    def dead_letters(self) -> list[Any]:
        """Events that some service could not apply."""
        return [one for handle in self.services.values() for one in handle.dead_letters()]


@asynccontextmanager
async def open_mall(ground: Ground, folder, **sim_options: object):
    """Bring everything up; no event may have been set aside when it is taken down."""
    async with AsyncExitStack() as stack:
        simulator = await stack.enter_async_context(start_simulator(folder, **sim_options))
        receiver = await stack.enter_async_context(Receiver())
        port = free_port()
        own = {
            "channel": {"http_port": port, "http_url": f"http://127.0.0.1:{port}"},
            "trade": {"egress_allow_private": True},
        }
        services = {}
        for name in SERVICES:
            service = ground.run(name, **own.get(name, {}))
            services[name] = await stack.enter_async_context(service)
        shop = await _furnish(ground, services, simulator, receiver)
        mall = Mall(
            ground, services, simulator, receiver, shop, Office(ground, services["payment"]), port
        )
        yield mall
        assert mall.dead_letters() == []


async def _furnish(ground, services, simulator, receiver) -> Shop:
    code = f"MALL{next(_serial)}"
    channels = ChannelOpsServiceStub(services["channel"].operator())
    for priority, name in enumerate(simulator.ports, 1):
        await channels.PutChannelAccount(
            channel_pb.PutChannelAccountRequest(
                channel_code=name,
                adapter="sim",
                base_url=simulator.base_url(name),
                provider_account=name,
                secret=simulator.secrets[name],
                tools=[QR],
                currency_codes=["CNY"],
                cost_ppm=COST_PPM,
                priority=priority,
            )  # fmt: skip
        )
    operator = TradeOpsServiceStub(services["trade"].operator())
    made = ground.app(code)
    answer = await operator.CreateApp(
        ops_pb.CreateAppRequest(
            request_id=code,
            business_code=code,
            name=code,
            public_key_pem=made.pem,
            webhook_url=receiver.url,
        )  # fmt: skip
    )
    app_id = answer.app.app_id
    app = type(made)(app_id, type(made.signer)(app_id, made.signer._key), made.pem)
    shop = Shop(services["trade"], app, code, answer.webhook_secret)
    shop.collect, shop.recharge = f"{code}_COLLECT", f"{code}_RECHARGE"
    for product, kind in (
        (shop.collect, kinds_pb2.TRADE_TYPE_COLLECT),
        (shop.recharge, kinds_pb2.TRADE_TYPE_RECHARGE),
    ):
        await operator.CreateProduct(
            ops_pb.CreateProductRequest(
                request_id=product,
                product_code=product,
                type=kind,
                name=product,
                tools=[QR],
                expiry_seconds=900,
                app_ids=[app_id],
            )  # fmt: skip
        )
    policy = setup_pb2.FeeTerms.REFUND_POLICY_RETURN
    merchant = await operator.CreateMerchant(
        ops_pb.CreateMerchantRequest(
            request_id=f"{code}-merchant",
            app_id=app_id,
            name="tea",
            currency_codes=["CNY"],
            fee=setup_pb2.FeeTerms(rate_ppm=RATE_PPM, least_minor=1, refund_policy=policy),
        )  # fmt: skip
    )
    shop.merchant_id = merchant.merchant.merchant_id
    await shop.stub.OpenWallet(pb.OpenWalletRequest(user_no="u1", currency_code="CNY"))
    return shop


__all__ = ["BALANCE", "QR", "Mall", "Trade", "money", "open_mall"]
