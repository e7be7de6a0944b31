"""What a bench pays with: two apps, merchants, several hundred filled wallets."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic

from demo.client import Caller, Doors
from demo.stage import Stage
from demo.world import (
    CURRENCY,
    App,
    MerchantPlan,
    make_app,
    make_merchant,
    make_product,
    open_wallet,
    open_world,
    put_channel,
)
from mesh.embedded.places import StartError
from mesh.tokens import Signer
from tongbao.common.v1 import kinds_pb2, money_pb2
from tongbao.trade.v1 import trade_service_pb2 as pb
from tongbao.trade.v1.trade_service_pb2_grpc import TradeServiceStub

WALLETS = 512
FILL_MINOR = 100_000_000_000
MERCHANTS = 16
_AT_ONCE = 64
_FUNDED_S = 120.0
_POLL_S = 0.2
# Who is told of every payment by a webhook, and who reads the answer and nothing else.
TOLD, SILENT = "BENCHQ", "BENCHW"


@dataclass(slots=True, kw_only=True)
class BenchApp:
    """An app that pays, and the product it pays for."""

    app: App
    signer: Signer
    product: str = ""

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Return the metadata of a call; the token is signed anew when half its life is over."""
        return (("authorization", f"Bearer {self.signer.token()}"),)


@dataclass(slots=True, kw_only=True)
class BenchWorld:
    """Everything that was made before the load begins."""

    trade: TradeServiceStub
    apps: dict[str, BenchApp] = field(default_factory=dict)
    users: Sequence[str] = ()

    def app_of(self, what: str) -> BenchApp:
        """Return who carries out `collect` or `pay-wallet`."""
        return self.apps[TOLD if what == "collect" else SILENT]

    def merchants(self, what: str) -> Sequence[str]:
        """Return the merchants that are paid."""
        return list(self.app_of(what).app.merchants.values())


async def make_bench_world(stage: Stage, *, webhook_url: str, what: str) -> BenchWorld:
    """Make apps, products, merchants and, for `pay-wallet`, wallets with money in them."""
    await asyncio.gather(
        *(put_channel(stage.doors, stage.operator, one) for one in stage.acquirers)
    )
    world = BenchWorld(trade=stage.doors.trade)
    for name, url in ((TOLD, webhook_url), (SILENT, "")):
        world.apps[name] = await _make_app(stage, name, url)
    if what == "pay-wallet":
        world.users = [f"w{number:04d}" for number in range(WALLETS)]
        await _fill(stage, world)
    return world


async def _make_app(stage: Stage, name: str, webhook_url: str) -> BenchApp:
    doors, operator = stage.doors, stage.operator
    folder = open_world(stage.settings.home, webhook_port=0).folder
    app = await make_app(folder, doors, operator, name, webhook_url=webhook_url)
    made = BenchApp(app=app, signer=Signer.from_file(app.app_id, folder / app.key))
    made.product = f"{name}_COLLECT"
    collect, recharge = kinds_pb2.TRADE_TYPE_COLLECT, kinds_pb2.TRADE_TYPE_RECHARGE
    both = [kinds_pb2.TOOL_QR_PAYER, kinds_pb2.TOOL_BALANCE]
    await make_product(doors, operator, app, made.product, collect, both)
    await make_product(doors, operator, app, f"{name}_RECHARGE", recharge, both[:1])
    plans = [
        MerchantPlan(name=f"m{number:02d}", rate_ppm=6000, least_minor=1, policy="RETURN")
        for number in range(MERCHANTS)
    ]
    await asyncio.gather(*(make_merchant(doors, operator, app, plan) for plan in plans))
    return made


async def _fill(stage: Stage, world: BenchWorld) -> None:
    """Open every wallet and fill it through the ordinary flow. Raises StartError."""
    silent = world.apps[SILENT]
    caller, doors = Caller(silent.signer), stage.doors
    turn = asyncio.Semaphore(_AT_ONCE)

    async def one(user_no: str) -> None:
        async with turn:
            await open_wallet(caller, doors, user_no)
            await caller.ask(doors.trade.PayTrade, _recharge(user_no))

    await asyncio.gather(*map(one, world.users))
    give_up = monotonic() + _FUNDED_S
    empty = list(world.users)
    while empty:
        if monotonic() > give_up:
            raise StartError(
                f"{len(empty)} wallets were not filled",
                why=f"their recharges are not booked after {_FUNDED_S:.0f} s",
                next_step="Read <home>/logs",
            )
        await asyncio.sleep(_POLL_S)
        found = await asyncio.gather(*(_is_empty(caller, doors, user_no) for user_no in empty))
        empty = [user_no for user_no, is_empty in zip(empty, found, strict=True) if is_empty]


def _recharge(user_no: str) -> pb.PayTradeRequest:
    return pb.PayTradeRequest(
        request_id=f"fill-{user_no}",
        new_trade=pb.NewTrade(
            order_no=f"fill-{user_no}",
            product_code=f"{SILENT}_RECHARGE",
            user_no=user_no,
            amount=money_pb2.Money(currency_code=CURRENCY, minor_units=FILL_MINOR),
        ),
        tool=kinds_pb2.TOOL_QR_PAYER,
    )


async def _is_empty(caller: Caller, doors: Doors, user_no: str) -> bool:
    request = pb.GetWalletRequest(user_no=user_no, currency_code=CURRENCY)
    answer = await caller.ask(doors.trade.GetWallet, request)
    return answer.message.wallet.balance.minor_units == 0
