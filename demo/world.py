"""The demo's world: two business lines with merchants, products, channels, limits and wallets.

It is made by public verbs that are done once per request id, so making it again finds it.
What we must remember (keys, secrets, ports) is in `<home>/demo`, readable by us only.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from demo.client import Caller, Doors
from demo.simulator import Acquirer
from mesh.embedded.places import StartError, private_dir, write_private
from mesh.tokens import Signer
from tongbao.channel.v1 import channel_ops_service_pb2 as channel_pb
from tongbao.common.v1 import kinds_pb2, money_pb2
from tongbao.risk.v1 import risk_ops_service_pb2 as risk_pb
from tongbao.trade.v1 import setup_pb2
from tongbao.trade.v1 import trade_ops_service_pb2 as ops_pb
from tongbao.trade.v1 import trade_service_pb2 as trade_pb

CURRENCY = "CNY"
EXPIRY_SECONDS = 1800
FLASH_SECONDS = 3  # The expiry of orders that nobody is to pay.
COST_PPM = {"sim-a": 3800, "sim-b": 5000}  # The cheaper one is tried first.
DAILY_LIMIT_MINOR = 1_000_000_000  # A user of MALL, a day.
DENIED_USER = "barred"
WALLET_USERS = tuple(f"user{number:02d}" for number in range(1, 7))


@dataclass(frozen=True, slots=True, kw_only=True)
class MerchantPlan:
    """A merchant to be made, and its contract."""

    name: str
    rate_ppm: int
    least_minor: int
    policy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AppPlan:
    """A business line to be made."""

    name: str
    merchants: Sequence[MerchantPlan]


APPS = (
    AppPlan(
        name="MALL",
        merchants=(
            MerchantPlan(name="tea", rate_ppm=6000, least_minor=1, policy="RETURN"),
            MerchantPlan(name="books", rate_ppm=3800, least_minor=5, policy="KEEP"),
        ),
    ),
    AppPlan(
        name="RIDE",
        merchants=(
            MerchantPlan(name="taxi", rate_ppm=10_000, least_minor=0, policy="RETURN"),
            MerchantPlan(name="bikes", rate_ppm=2500, least_minor=10, policy="KEEP"),
        ),
    ),
)


@dataclass(slots=True, kw_only=True)
class App:
    """A business line as it was made. `key` is its private key, relative to the folder."""

    app_id: str
    key: str
    webhook_secret: str
    collect: str = ""
    recharge: str = ""
    flash: str = ""
    merchants: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class World:
    """What is remembered between runs."""

    folder: Path
    webhook_port: int
    runs: int = 0
    apps: dict[str, App] = field(default_factory=dict)

    def save(self) -> None:
        """Write it down as a whole."""
        facts = asdict(self)
        del facts["folder"]
        write_private(self.folder / "world.json", json.dumps(facts, indent=1) + "\n")

    def caller(self, app: str) -> Caller:
        """Return somebody who calls as `app`."""
        known = self.apps[app]
        return Caller(Signer.from_file(known.app_id, self.folder / known.key))

    def webhook_secrets(self) -> dict[str, str]:
        """Return what signs the webhooks of each app."""
        return {name: app.webhook_secret for name, app in self.apps.items()}

    def terms(self) -> Mapping[str, MerchantPlan]:
        """Return the contract of every merchant by its id."""
        return {
            self.apps[app.name].merchants[merchant.name]: merchant
            for app in APPS
            for merchant in app.merchants
        }


def open_world(home: Path, *, webhook_port: int) -> World:
    """Return what earlier runs left in `home`, or a new world in which nothing is made yet."""
    folder = private_dir(home / "demo")
    private_dir(folder / "apps")
    try:
        facts = json.loads((folder / "world.json").read_text())
    except FileNotFoundError:
        return World(folder=folder, webhook_port=webhook_port)
    apps = {name: App(**app) for name, app in facts.pop("apps").items()}
    return World(folder=folder, apps=apps, **facts)


async def make_world(
    world: World, doors: Doors, operator: Caller, acquirers: Sequence[Acquirer]
) -> None:
    """Make what is missing of the world. Raises CallFailed, StartError."""
    await asyncio.gather(*(put_channel(doors, operator, one) for one in acquirers))
    for plan in APPS:
        if plan.name not in world.apps:
            url = f"http://127.0.0.1:{world.webhook_port}/webhooks/{plan.name}"
            world.apps[plan.name] = await make_app(
                world.folder, doors, operator, plan.name, webhook_url=url
            )
            world.save()
    await asyncio.gather(*(_furnish(world, doors, operator, plan) for plan in APPS))
    world.save()


async def make_app(
    folder: Path, doors: Doors, operator: Caller, name: str, *, webhook_url: str
) -> App:
    """Make the app `name`, with its key in `folder`. Raises CallFailed, StartError."""
    key = f"apps/{name}.key"
    answer = await operator.ask(
        doors.trade_ops.CreateApp,
        ops_pb.CreateAppRequest(
            request_id=f"demo-app-{name}",
            business_code=name,
            name=f"{name} of the demo",
            public_key_pem=_public_half(folder / key),
            webhook_url=webhook_url,
        ),
    )
    if not answer.message.webhook_secret:
        raise StartError(
            f"the secret of {name}'s webhooks is lost",
            why="an earlier run was told it, once, and was killed before it wrote it down",
            next_step="Name another home by --home",
        )
    return App(
        app_id=answer.message.app.app_id, key=key, webhook_secret=answer.message.webhook_secret
    )


def _public_half(path: Path) -> str:
    """Return the public half of the key in `path`, which is made if it is not there."""
    if path.exists():
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    else:
        key = Ed25519PrivateKey.generate()
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        write_private(path, pem.decode())
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


async def put_channel(doors: Doors, operator: Caller, acquirer: Acquirer) -> None:
    """Add the channel account of one provider, or change where it is."""
    await operator.ask(
        doors.channel_ops.PutChannelAccount,
        channel_pb.PutChannelAccountRequest(
            channel_code=acquirer.name,
            adapter="sim",
            base_url=acquirer.url,
            provider_account=acquirer.name,
            secret=acquirer.secret,
            tools=[kinds_pb2.TOOL_QR_PAYER],
            currency_codes=[CURRENCY],
            cost_ppm=COST_PPM[acquirer.name],
            priority=1 + sorted(COST_PPM).index(acquirer.name),
        ),
    )


async def _furnish(world: World, doors: Doors, operator: Caller, plan: AppPlan) -> None:
    """Make the products, merchants and wallets of one app, and what risk shall know of it."""
    app = world.apps[plan.name]
    app.collect, app.recharge = f"{plan.name}_COLLECT", f"{plan.name}_RECHARGE"
    app.flash = f"{plan.name}_FLASH"
    both = [kinds_pb2.TOOL_QR_PAYER, kinds_pb2.TOOL_BALANCE]
    await asyncio.gather(
        make_product(doors, operator, app, app.collect, kinds_pb2.TRADE_TYPE_COLLECT, both),
        make_product(doors, operator, app, app.recharge, kinds_pb2.TRADE_TYPE_RECHARGE, both[:1]),
        make_product(
            doors,
            operator,
            app,
            app.flash,
            kinds_pb2.TRADE_TYPE_COLLECT,
            both,
            expiry_seconds=FLASH_SECONDS,
        ),
        *(make_merchant(doors, operator, app, merchant) for merchant in plan.merchants),
        *(
            open_wallet(world.caller(plan.name), doors, user)
            for user in (*WALLET_USERS, DENIED_USER)
        ),
    )
    if plan is APPS[0]:
        await _set_limits(doors, operator, app)


async def make_product(
    doors: Doors,
    operator: Caller,
    app: App,
    code: str,
    kind: kinds_pb2.TradeType.ValueType,
    tools: Sequence[kinds_pb2.Tool.ValueType],
    *,
    expiry_seconds: int = EXPIRY_SECONDS,
) -> None:
    """Make a product of one app."""
    request = ops_pb.CreateProductRequest(
        request_id=f"demo-product-{code}",
        product_code=code,
        type=kind,
        name=code.replace("_", " ").lower(),
        tools=tools,
        expiry_seconds=expiry_seconds,
        app_ids=[app.app_id],
    )
    await operator.ask(doors.trade_ops.CreateProduct, request)


async def make_merchant(doors: Doors, operator: Caller, app: App, plan: MerchantPlan) -> None:
    """Make a merchant of `app` and note its id."""
    fee = setup_pb2.FeeTerms(
        rate_ppm=plan.rate_ppm,
        least_minor=plan.least_minor,
        refund_policy=setup_pb2.FeeTerms.RefundPolicy.Value(f"REFUND_POLICY_{plan.policy}"),
    )
    answer = await operator.ask(
        doors.trade_ops.CreateMerchant,
        ops_pb.CreateMerchantRequest(
            request_id=f"demo-merchant-{app.app_id}-{plan.name}",
            app_id=app.app_id,
            name=plan.name,
            currency_codes=[CURRENCY],
            fee=fee,
        ),
    )
    app.merchants[plan.name] = answer.message.merchant.merchant_id


async def open_wallet(app: Caller, doors: Doors, user_no: str) -> None:
    """Open the wallet of a user of `app`; nothing happens if it is open."""
    request = trade_pb.OpenWalletRequest(user_no=user_no, currency_code=CURRENCY)
    await app.ask(doors.trade.OpenWallet, request)


async def _set_limits(doors: Doors, operator: Caller, app: App) -> None:
    """Limit what a user may pay a day, and bar one user."""
    limit = money_pb2.Money(currency_code=CURRENCY, minor_units=DAILY_LIMIT_MINOR)
    await operator.ask(
        doors.risk_ops.PutLimit, risk_pb.PutLimitRequest(app_id=app.app_id, daily_amount=limit)
    )
    await operator.ask(
        doors.risk_ops.PutDenyEntry,
        risk_pb.PutDenyEntryRequest(
            app_id=app.app_id, user_no=DENIED_USER, cause="card reported stolen"
        ),
    )
