"""The edge: the same rpcs with JSON over HTTP, the same refusals, nothing that is not public."""

import asyncio
import io
import json
import ssl
import uuid

import aiohttp
import pytest

from mesh.tokens import Signer

TRADES = "tongbao.trade.v1.TradeService"


@pytest.fixture
async def http(platform):
    """Yield `ask(path, body, …) → (HTTP status, headers, JSON)` as the app MALL."""
    base = platform.mesh.urls["edge"]
    trust = ssl.create_default_context(cafile=str(platform.mesh.settings.tls_ca))
    mall = platform.world.apps["MALL"]
    token = Signer.from_file(mall.app_id, platform.world.folder / mall.key).token()

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as session:

        async def ask(path, body=None, *, method="POST", headers=None, params=None):
            own = {"content-type": "application/json", "authorization": f"Bearer {token}"}
            data = body if isinstance(body, bytes | io.BytesIO) else json.dumps(body).encode()
            async with session.request(
                method,
                f"{base}/{path}",
                data=None if method == "GET" else data,
                headers=own | (headers or {}),
                params=params,
            ) as answer:
                text = await answer.text()
                return answer.status, answer.headers, json.loads(text) if text else None

        yield ask


@pytest.fixture
def order(platform):
    """Return a function that makes a request to pay a new trade by QR code."""
    merchant_id = next(iter(platform.world.apps["MALL"].merchants.values()))

    def new(**changed):
        number = uuid.uuid4().hex
        trade = {
            "orderNo": f"edge-{number}",
            "productCode": "MALL_COLLECT",
            "merchantId": merchant_id,
            "amount": {"currencyCode": "CNY", "minorUnits": "1234"},
        }
        return {"requestId": number, "tool": "TOOL_QR_PAYER", "newTrade": trade | changed}

    return new


async def test_a_trade_is_paid_with_json(http, order):
    request = order()
    status, _, answer = await http(f"{TRADES}/PayTrade", request)
    assert status == 200
    assert answer["trade"]["amount"] == {"currencyCode": "CNY", "minorUnits": "1234"}
    assert answer["payment"]["action"]["qrCode"]

    status, headers, again = await http(f"{TRADES}/PayTrade", request)
    assert status == 200
    assert again["trade"]["tradeNo"] == answer["trade"]["tradeNo"]
    assert headers["trailer-idempotent-replayed"] == "true"


async def test_what_changes_nothing_can_be_got(http, order):
    _, _, paid = await http(f"{TRADES}/PayTrade", order())
    key = json.dumps({"tradeNo": paid["trade"]["tradeNo"]})
    params = {"encoding": "json", "message": key, "connect": "v1"}
    status, _, answer = await http(f"{TRADES}/GetTrade", method="GET", params=params)
    assert status == 200
    assert answer["trade"]["tradeNo"] == paid["trade"]["tradeNo"]

    status, _, _ = await http(f"{TRADES}/PayTrade", method="GET", params=params)
    assert status == 405


async def test_a_refusal_keeps_its_reason_and_is_readable(http, order):
    status, _, answer = await http(f"{TRADES}/PayTrade", order(productCode="NO_SUCH"))
    assert (status, answer["code"]) == (404, "not_found")
    [info] = [one for one in answer["details"] if one["type"] == "google.rpc.ErrorInfo"]
    assert info["debug"]["reason"] == "PRODUCT_NOT_FOUND"
    assert info["value"]


async def test_every_broken_field_is_named(http):
    status, _, answer = await http(f"{TRADES}/PayTrade", {"requestId": "no spaces"})
    assert (status, answer["code"]) == (400, "invalid_argument")
    [broken] = [one for one in answer["details"] if one["type"] == "google.rpc.BadRequest"]
    assert {"request_id", "tool"} <= {one["field"] for one in broken["debug"]["fieldViolations"]}


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"pageSize": ', "Expecting"),
        (b"\xff", "utf-8"),
        ({"pageSize": 1.5}, "pageSize"),
        # Left out it would be no filter at all, and the answer would be everything.
        ({"statez": ["STATE_PAID"]}, "statez"),
        ({"states": ["STATE_PAYED"]}, "STATE_PAYED"),
        ({"type": "COLLECT"}, "COLLECT"),
    ],
)
async def test_what_is_no_message_is_refused_with_a_reason(http, body, told):
    status, _, answer = await http(f"{TRADES}/ListTrades", body)
    assert (status, answer["code"]) == (400, "invalid_argument")
    assert told in answer["message"]
    [info] = answer["details"]
    assert info["debug"] == {"reason": "MALFORMED_BYTES", "domain": "tongbao"}


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        (f"{TRADES}/GetTrade", {"orderNo": "o"}, {"authorization": ""}, 401),
        (f"{TRADES}/GetTrade", b"{", {}, 400),
        (f"{TRADES}/GetTrade", {"noSuchField": 1}, {}, 400),
        (f"{TRADES}/GetTrade", {"orderNo": "o"}, {"content-type": "text/plain"}, 415),
        ("tongbao.trade.v1.TradeOpsService/CreateApp", {"requestId": "r"}, {}, 403),
        (f"{TRADES}/NoSuchVerb", {}, {}, 404),
        # What only services may call is not even there.
        ("tongbao.payment.v1.PaymentService/BatchCreatePayments", {"items": []}, {}, 404),
        ("tongbao.ledger.v1.LedgerService/BatchPost", {"items": []}, {}, 404),
    ],
)
async def test_what_is_wrong_gets_its_status(http, path, body, headers, status):
    assert (await http(path, body, headers=headers))[0] == status


async def test_a_body_without_end_is_refused(http, order):
    huge = io.BytesIO(json.dumps(order(subject="x" * (2 << 20))).encode())
    status, _, answer = await http(f"{TRADES}/PayTrade", huge)
    assert (status, answer["code"]) == (429, "resource_exhausted")


async def test_a_deadline_goes_along(http):
    status, _, answer = await http(
        f"{TRADES}/GetTrade", {"orderNo": "o"}, headers={"connect-timeout-ms": "0"}
    )
    assert (status, answer["code"]) == (504, "deadline_exceeded")


async def test_many_at_once_are_answered_each(http, order):
    requests = [order() for _ in range(20)]
    answers = await asyncio.gather(*(http(f"{TRADES}/PayTrade", one) for one in requests))
    assert [answer["trade"]["orderNo"] for _, _, answer in answers] == [
        one["newTrade"]["orderNo"] for one in requests
    ]


async def test_it_says_that_it_serves(http):
    assert (await http("healthz", method="GET"))[::2] == (200, {"status": "SERVING"})
