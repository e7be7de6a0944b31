"""CreateApp: once per request, every refusal in its order, the secret told once."""

from __future__ import annotations

import base64

import grpc
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.service.trade.shop import World, ask, reason, refused, serial, together
from tests.services import Ground
from tongbao.trade.v1 import trade_ops_service_pb2 as ops
from tongbao.trade.v1.trade_ops_service_pb2_grpc import TradeOpsServiceStub

PUBLIC = "https://93.184.216.34/hooks"  # An address, so that nothing has to be looked up.


def request(world: World, **fields) -> ops.CreateAppRequest:
    number = serial()
    wanted = {
        "request_id": f"app-{number}",
        "business_code": f"A{number}",
        "name": "tea house",
        "public_key_pem": world.ground.app("x").pem,
        "webhook_url": "http://127.0.0.1:9/hooks",
    }
    return ops.CreateAppRequest(**(wanted | fields))


def not_ed25519() -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    return key.public_bytes(serialization.Encoding.PEM, form).decode()


async def test_an_app_is_made_with_a_secret_of_32_bytes(world: World):
    """It comes back as it was asked for, with an id and a creation time of ours."""
    wanted = request(world)
    answer = await ask(world.ops.CreateApp, wanted)
    app = answer.message.app

    assert not answer.replayed
    assert app.app_id.startswith("app_")
    assert len(app.app_id) == 30
    assert (app.business_code, app.name) == (wanted.business_code, wanted.name)
    assert app.webhook_url == wanted.webhook_url
    assert app.HasField("create_time")
    prefix, _, key = answer.message.webhook_secret.partition("_")
    assert prefix == "whsec"
    assert len(base64.b64decode(key, validate=True)) == 32


async def test_a_repetition_returns_the_app_without_its_secret(world: World):
    """The secret is shown once; the app is the same one."""
    wanted = request(world)
    first = await ask(world.ops.CreateApp, wanted)
    again = await ask(world.ops.CreateApp, wanted)

    assert again.replayed
    assert again.message.app == first.message.app
    assert again.message.webhook_secret == ""
    assert first.message.webhook_secret != ""


async def test_refusals_come_in_the_order_of_the_contract(world: World):
    """A request with every fault is refused for the first; mending one shows the next."""
    known = request(world)
    await world.ops.CreateApp(known)
    wrong = request(
        world,
        request_id=known.request_id,
        webhook_url="ftp://example.com",
        public_key_pem="no key",
        business_code=known.business_code,
    )
    seen = [await reason(world.ops.CreateApp(wrong))]
    wrong.request_id = f"app-{serial()}"
    seen.append(await reason(world.ops.CreateApp(wrong)))
    wrong.webhook_url = ""
    seen.append(await reason(world.ops.CreateApp(wrong)))
    wrong.public_key_pem = not_ed25519()
    seen.append(await reason(world.ops.CreateApp(wrong)))
    wrong.public_key_pem = known.public_key_pem
    seen.append(await reason(world.ops.CreateApp(wrong)))
    wrong.business_code = f"A{serial()}"
    answer = await ask(world.ops.CreateApp, wrong)

    assert seen == [
        "REQUEST_REUSED",
        "WEBHOOK_URL_REFUSED",
        "PUBLIC_KEY_INVALID",
        "PUBLIC_KEY_INVALID",
        "BUSINESS_CODE_TAKEN",
    ]
    assert not answer.replayed, "a refused request does not use its id up"


async def test_a_secret_is_sealed_in_its_row(world: World):
    """Neither the told text nor its bytes stand in the table."""
    made = await world.ops.CreateApp(request(world))
    [(sealed,)] = world.trade.rows(
        "SELECT webhook_secret FROM app WHERE app_id = %(app_id)s", app_id=made.app.app_id
    )
    key = base64.b64decode(made.webhook_secret.removeprefix("whsec_"))
    assert made.webhook_secret.encode() not in sealed
    assert key not in sealed


async def test_two_with_one_business_code_at_once_make_one_app(world: World):
    """The loser is refused and its request id stays free."""
    one, other = request(world), request(world)
    other.business_code = one.business_code
    calls = [one, other]
    settled = await together(*map(world.ops.CreateApp, calls))
    losers = [
        call
        for call, answer in zip(calls, settled, strict=True)
        if isinstance(answer, grpc.aio.AioRpcError)
    ]
    assert len(losers) == 1

    [loser] = losers
    assert await reason(world.ops.CreateApp(loser)) == "BUSINESS_CODE_TAKEN"
    loser.business_code = f"A{serial()}"
    assert not (await ask(world.ops.CreateApp, loser)).replayed


async def test_the_same_request_at_once_makes_one_app(world: World):
    """Ten times the same: one app, one secret told."""
    wanted = request(world)
    settled = await together(*(world.ops.CreateApp(wanted) for _ in range(10)))
    assert len({answer.app.app_id for answer in settled}) == 1
    assert sum(answer.webhook_secret != "" for answer in settled) == 1


async def test_only_operators_may(world: World, shop):
    """An app's token is not enough."""
    stub = TradeOpsServiceStub(world.trade.app(shop.app))
    assert await reason(stub.CreateApp(request(world))) == "PERMISSION_DENIED"


URLS = [
    # url                                   what is wrong with it
    ("http://93.184.216.34/hooks",          "not an https URL"),
    ("https:///hooks",                      "not an https URL"),
    ("hooks",                               "not an https URL"),
    ("https://a:b@93.184.216.34/",          "it holds a user or a password"),
    ("https://93.184.216.34:99999/",        "not a URL"),
    ("https://127.0.0.1/",                  "its address is not public"),
    ("https://10.1.2.3:8443/hooks",         "its address is not public"),
    ("https://169.254.169.254/latest",      "its address is not public"),
    ("https://[::1]/",                      "its address is not public"),
    ("https://[::ffff:127.0.0.1]/",         "its address is not public"),
    ("https://[64:ff9b::7f00:1]/",          "its address is not public"),
    ("https://2130706433/",                 "its address is not public"),
    ("https://localhost/",                  "its address is not public"),
    ("https://no-such-host.invalid/",       "its host is not found"),
]  # fmt: skip


async def test_only_public_https_receivers_are_taken_where_private_ones_are_not_allowed(
    ground: Ground,
):
    """Each url is refused with its problem; a public address is taken."""
    async with ground.run("trade", egress_allow_private=False) as trade:
        stub = TradeOpsServiceStub(trade.operator())
        pem = ground.app("x").pem

        def app(url: str) -> ops.CreateAppRequest:
            number = serial()
            return ops.CreateAppRequest(
                request_id=f"app-{number}",
                business_code=f"A{number}",
                name="tea house",
                public_key_pem=pem,
                webhook_url=url,
            )

        seen = [(url, await refused(stub.CreateApp(app(url)))) for url, _ in URLS]
        made = await stub.CreateApp(app(PUBLIC))

    assert seen == [(url, ("WEBHOOK_URL_REFUSED", {"problem": problem})) for url, problem in URLS]
    assert made.app.webhook_url == PUBLIC


@pytest.mark.parametrize("field", ["request_id", "business_code", "name", "public_key_pem"])
async def test_what_is_required_is_required(world: World, field: str):
    """An empty field is malformed, before any reason."""
    wrong = request(world)
    wrong.ClearField(field)
    assert await reason(world.ops.CreateApp(wrong)) == "INVALID_FIELDS"
