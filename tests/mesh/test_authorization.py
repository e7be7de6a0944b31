"""The matrix of rights: every rpc × everybody who may stand before its door × whose it is.

Through the real doors of the running services. Who may call is read from the contract; whose
the numbers in a request are is in `tests/mesh/matrix.py`.
"""

import shutil
import tempfile
import uuid
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import psycopg
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from psycopg import sql

from bench.play import admin_of
from mesh.errors import Malformed
from mesh.wire import check
from tests.mesh.matrix import ROWS, row_name
from tests.mesh.platform import open_platform
from tests.mesh.principals import OTHER, OWNER, Cast, outcome, sign
from tests.mesh.test_hung_provider import fund, pay, yuan
from tests.samples import kind_of, methods, sample
from tests.waiting import eventually
from tongbao.common.v1 import kinds_pb2, options_pb2
from tongbao.trade.v1 import app_service_pb2 as app_pb
from tongbao.trade.v1 import trade_service_pb2 as pb
from tongbao.trade.v1.app_service_pb2_grpc import AppServiceStub

METHODS = {row_name(method.full_name): method for method in methods()}
KNOWS_APPS = {"trade"}  # The other services have no keys of apps.
# What changes by itself, whoever calls.
ALIVE = {"node", "inbox", "outbox", "relay_state"}


def policy_of(method):
    return method.GetOptions().Extensions[options_pb2.policy]


def is_inside(method):
    return options_pb2.ROLE_SERVICE in policy_of(method).roles


def service_of(method):
    return method.full_name.split(".")[1]


class Scene:
    """The platform, everybody, and something of everything that the owner has."""

    def __init__(self, platform, stack):
        self.platform, self._stack = platform, stack
        self.cast = Cast(platform)
        self.owned, self.invented, self.usable = {}, {}, {}
        self._doors = {}
        self.admin_dsn = admin_of(platform.stage)

    def door(self, service, *, inside):
        """A channel to the unix socket of a service, or to its public port."""
        if (service, inside) not in self._doors:
            settings = self.platform.stage.settings
            if inside:
                target = f"unix:{settings.socket_dir / service}.sock"
                channel = grpc.aio.insecure_channel(target)
            else:
                credentials = grpc.ssl_channel_credentials(settings.tls_ca.read_bytes())
                target = f"{settings.public_host}:{self.platform.mesh.ports[service]}"
                channel = grpc.aio.secure_channel(target, credentials)
            self._stack.push_async_callback(channel.close)
            self._doors[service, inside] = channel
        return self._doors[service, inside]

    async def ask(self, method, request, token):
        channel = self.door(service_of(method), inside=is_inside(method))
        return await outcome(channel, method, request, token)

    def request(self, method, names=(), *, of=None):
        """A valid request of somebody who names these of the owner's things, or invented ones."""
        known = self.usable | {"request_id": new(), "refund_order_no": new(), "order_no": new()}
        known |= {name: (of or self.owned)[name] for name in names}
        return sample(method.input_type, known=known)

    def rows(self):
        """Every table with what is in it, as a digest; what lives by itself left out."""
        with psycopg.connect(self.admin_dsn) as admin:
            tables = admin.execute(
                "SELECT schemaname, relname FROM pg_stat_user_tables ORDER BY 1, 2"
            ).fetchall()
            return {
                f"{schema}.{name}": admin.execute(
                    sql.SQL(
                        "SELECT count(*), md5(string_agg(t::text, '' ORDER BY t::text)) FROM {} t"
                    ).format(sql.Identifier(schema, name))
                ).fetchone()
                for schema, name in tables
                if name not in ALIVE
            }


def new():
    return f"n{uuid.uuid4().hex[:20]}"


@pytest.fixture(scope="module")
async def scene():
    home = Path(tempfile.mkdtemp(prefix="tongbao-home-"))
    home.chmod(0o711)
    try:
        async with open_platform(home) as platform, AsyncExitStack() as stack:
            scene = Scene(platform, stack)
            await furnish(scene)
            yield scene
    finally:
        shutil.rmtree(home)


async def furnish(scene):
    """Give the owner a paid trade with a refund, told by a webhook, and two further keys."""
    platform = scene.platform
    app = platform.world.apps[OWNER]
    await fund(platform)
    paid = await pay(platform, "matrix", kinds_pb2.TOOL_BALANCE)
    trade = paid.message.trade
    refund = await platform.world.caller(OWNER).ask(
        platform.stage.doors.trade.CreateRefund,
        pb.CreateRefundRequest(
            refund_order_no="matrix-refund", trade_no=trade.trade_no, amount=yuan(1)
        ),
    )
    scene.owned = {
        "trade_no": trade.trade_no,
        "order_no": "matrix",
        "refund_no": refund.message.refund.refund_no,
        "refund_order_no": "matrix-refund",
        "trace_no": trade.trace_no,
        "user_no": "only-the-owner-has-this-user",
        "merchant_id": app.merchants["tea"],
        "product_code": app.collect,
        "app_id": app.app_id,
        "webhook_id": "",
        "key_id": await spare_key(scene),
    }
    await open_wallet_of(scene, scene.owned["user_no"])
    await eventually(lambda: first(scene, "SELECT webhook_id FROM trade.webhook WHERE app_id = %s"))
    scene.owned["webhook_id"] = first(
        scene, "SELECT webhook_id FROM trade.webhook WHERE app_id = %s"
    )
    scene.invented = {
        name: value[:-4] + ("ZZZZ" if value.isupper() else "zzzz")
        for name, value in scene.owned.items()
    }
    other = platform.world.apps[OTHER]
    scene.usable = {
        "merchant_id": other.merchants["taxi"],
        "product_code": other.collect,
        "currency_code": "CNY",
        "tool": kinds_pb2.TOOL_QR_PAYER,
        "public_key_pem": pem(Ed25519PrivateKey.generate()),
    }
    await quiet(scene)


def first(scene, query):
    """The first column of the first row of the owner's, or None."""
    with psycopg.connect(scene.admin_dsn) as admin:
        row = admin.execute(query, [scene.platform.world.apps[OWNER].app_id]).fetchone()
    return row[0] if row else None


async def spare_key(scene):
    """Give the owner a second key and return its id; the one before it was taken away again."""
    caller = scene.platform.world.caller(OWNER)
    stub = AppServiceStub(scene.door("trade", inside=False))
    lost, spare = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    lost_id = await add_key(caller, stub, lost)
    request = app_pb.RetireAppKeyRequest(request_id=new(), key_id=lost_id)
    await caller.ask(stub.RetireAppKey, request)
    scene.cast.retired = sign(lost, scene.platform.world.apps[OWNER].app_id)
    reads = METHODS["trade.TradeService/ListTrades"]

    async def forgotten():
        got = await scene.ask(reads, pb.ListTradesRequest(), scene.cast.retired)
        return got.reason == "TOKEN_INVALID"

    await eventually(forgotten)
    return await add_key(caller, stub, spare)


async def add_key(caller, stub, key):
    request = app_pb.AddAppKeyRequest(request_id=new(), public_key_pem=pem(key))
    return (await caller.ask(stub.AddAppKey, request)).message.key.key_id


def pem(key):
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


async def open_wallet_of(scene, user_no):
    caller = scene.platform.world.caller(OWNER)
    request = pb.OpenWalletRequest(user_no=user_no, currency_code="CNY")
    await caller.ask(scene.platform.stage.doors.trade.OpenWallet, request)


async def quiet(scene):
    """Return when two looks at all tables show the same."""
    looks = [{}]

    def same():
        looks.append(scene.rows())
        return looks[-1] == looks[-2]

    await eventually(same, within=60)


def test_every_rpc_has_a_row():
    """Whose the numbers in its request are nobody can read from a descriptor."""
    for name, method in METHODS.items():
        row = 'theirs("…_NOT_FOUND", "' + (policy_of(method).resource or "…") + '")'
        assert name in ROWS, (
            f"{name} has no row in the matrix of rights: add it to ROWS in tests/mesh/matrix.py, "
            f"as {row} when its request can name something of an app, else with the reason why not"
        )
    assert set(ROWS) == set(METHODS), f"no such rpc: {set(ROWS) - set(METHODS)}"


def expected(method, who, request):
    """What the door says to somebody who may not come in; None to who may."""
    policy = policy_of(method)
    if who.token is None:
        return "UNAUTHENTICATED", "TOKEN_INVALID", {"problem": "there is no bearer token"}
    if who.role is None:
        is_late = who.is_late and service_of(method) in KNOWS_APPS
        return "UNAUTHENTICATED", "TOKEN_EXPIRED" if is_late else "TOKEN_INVALID", None
    if who.role == options_pb2.ROLE_APP and service_of(method) not in KNOWS_APPS:
        problem = "its issuer is not known here"
        return "UNAUTHENTICATED", "TOKEN_INVALID", {"problem": problem}
    inside = who.role == options_pb2.ROLE_SERVICE
    if who.role in policy.roles and (not inside or who.name in policy.services):
        return None
    return "PERMISSION_DENIED", "PERMISSION_DENIED", {"permission": policy.permission}


async def test_a_door_opens_for_those_its_contract_names_and_for_nobody_else(scene):
    """Code, reason and facts of every refusal; a whole request that would have its effect does
    not have it. Who may come in is told what an empty request lacks."""
    before = scene.rows()
    cells, wrong = 0, []
    for name, method in METHODS.items():
        whole = scene.request(method, [row for row in ROWS[name][0].names])
        empty = kind_of(method.input_type)()
        if "items" in empty.DESCRIPTOR.fields_by_name:
            empty.items.add()
        for person, who in scene.cast.everybody().items():
            told = expected(method, who, whole)
            got = await scene.ask(method, whole if told else empty, who.token)
            cells += 1
            if told is None:
                fits = got.reason not in ("TOKEN_INVALID", "TOKEN_EXPIRED", "PERMISSION_DENIED")
                operator = who.role == options_pb2.ROLE_OPERATOR  # Must say for which app.
                told_so = {lacking(empty)} | ({"APP_ID_REQUIRED"} if operator else set())
                fits = fits and got.reason in told_so
            else:
                facts = told[2] in (None, got.facts)
                fits = (got.code, got.reason) == told[:2] and facts and got.answer is None
            if not fits:
                wrong.append(f"{name} by {person}: {told}, but {got}")
    assert wrong == []
    assert cells == len(METHODS) * len(scene.cast.everybody())
    assert changed(before, scene.rows()) == []


def lacking(empty):
    """The reason an empty request is refused with by its own rules."""
    try:
        check(empty)
    except Malformed:
        return "INVALID_FIELDS"
    return ""


def changed(before, after):
    """Return which tables differ, but for webhooks: their tries go on by a ladder of time."""
    return sorted(name for name in before.keys() | after.keys()
                  if before.get(name) != after.get(name)
                  and not name.startswith("trade.webhook"))  # fmt: skip


async def test_what_serves_the_mesh_is_not_at_the_public_port(scene):
    """Not even for a service: the port does not know such methods."""
    ports = scene.platform.mesh.ports
    tokens = scene.cast.everybody()
    for method in METHODS.values():
        if is_inside(method) and service_of(method) in ports:
            channel = scene.door(service_of(method), inside=False)
            token = tokens[policy_of(method).services[0]].token
            got = await outcome(channel, method, scene.request(method), token)
            assert got.code == "UNIMPLEMENTED", method.full_name


@pytest.mark.parametrize(
    ("name", "row"),
    [(name, row) for name, rows in ROWS.items() for row in rows if row.kind == "theirs"],
    ids=[
        f"{name}-{row.names}" for name, rows in ROWS.items() for row in rows if row.kind == "theirs"
    ],  # fmt: skip
)
async def test_what_another_app_has_does_not_exist(scene, name, row):
    """NOT_FOUND, and not a letter's difference from what never existed; no effect. The owner
    is told something else, so it is the tenant that made the difference."""
    method, people = METHODS[name], scene.cast.everybody()
    await quiet(scene)
    before = scene.rows()
    told = []
    for things in (scene.owned, scene.invented):
        request = scene.request(method, row.names, of=things)
        got = await scene.ask(method, request, people["another app"].token)
        told.append(got.told(**{f"<{one}>": things[one] for one in row.names}))
    theirs, nothing = told
    assert theirs[:2] == ("NOT_FOUND", row.reason)
    assert theirs == nothing
    assert changed(before, scene.rows()) == []
    own = await scene.ask(method, scene.request(method, row.names), people["the owner"].token)
    assert own.reason != row.reason


@pytest.mark.parametrize("name", [name for name, rows in ROWS.items() if rows[0].kind == "listed"])
async def test_a_list_holds_the_callers_own(scene, name):
    """Nothing of another app is in it; the owner's has the owner's."""
    method, people = METHODS[name], scene.cast.everybody()
    empty = kind_of(method.input_type)()
    other = await scene.ask(method, empty, people["another app"].token)
    own = await scene.ask(method, empty, people["the owner"].token)
    assert (other.code, own.code) == ("OK", "OK")
    assert [name for name, value in scene.owned.items() if value in str(other.answer)] == []
    assert [name for name, value in scene.owned.items() if value in str(own.answer)] != []


@pytest.mark.parametrize("name", [name for name, rows in ROWS.items() if rows[0].kind == "traced"])
async def test_a_trace_belongs_to_its_app_inside_too(scene, name):
    """Asked on behalf of another app, a neighbour has nothing of it."""
    method, people = METHODS[name], scene.cast.everybody()
    apps = scene.platform.world.apps
    counts = []
    for app in (OWNER, OTHER):
        request = kind_of(method.input_type)()
        request.context.app_id = apps[app].app_id
        request.context.trace_no = scene.owned["trace_no"]
        got = await scene.ask(method, request, people["trade"].token)
        counts.append(len(got.answer.entries))
    own, others = counts
    assert own > 0
    assert others == 0
