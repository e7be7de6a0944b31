"""Get, update and rotate: by the app itself and by an operator, once per request."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import grpc
import pytest

from tests.service.trade.receiver import Receiver
from tests.service.trade.shop import Shop, World, ask, holding, reason, running, serial, together
from tests.services import Ground
from tests.waiting import eventually
from tongbao.trade.v1 import app_service_pb2 as pb
from tongbao.trade.v1.app_service_pb2_grpc import AppServiceStub

APP_ROW = "SELECT 1 FROM app WHERE app_id = %(app_id)s FOR UPDATE"


def own(shop: Shop) -> AppServiceStub:
    return AppServiceStub(shop.handle.app(shop.app))


def operator(world: World) -> AppServiceStub:
    return AppServiceStub(world.trade.operator())


def update(url: str, **fields) -> pb.UpdateWebhookEndpointRequest:
    wanted = {"request_id": f"update-{serial()}", "url": url}
    return pb.UpdateWebhookEndpointRequest(**(wanted | fields))


def rotate(hours: int = 24, **fields) -> pb.RotateWebhookSecretRequest:
    wanted = {"request_id": f"rotate-{serial()}", "overlap_hours": hours}
    return pb.RotateWebhookSecretRequest(**(wanted | fields))


async def endpoint(shop: Shop) -> pb.GetWebhookEndpointResponse:
    return (await own(shop).GetWebhookEndpoint(pb.GetWebhookEndpointRequest())).endpoint


async def test_webhooks_go_where_they_were_sent_last(fresh: World):
    """Also the ones that wait; to nowhere with an empty url."""
    async with Receiver() as first, Receiver() as second:
        shop = await fresh.shop(webhook_url=first.url)
        first.then(500)
        waits = await shop.paid()
        await eventually(lambda: first.came)
        answer = await ask(own(shop).UpdateWebhookEndpoint, update(second.url))
        assert answer.message.endpoint == await endpoint(shop)
        assert (await endpoint(shop)).url == second.url
        await fresh.trade.shift("15 seconds")
        await eventually(lambda: [one.id for one in second.came] == [f"{waits.trade_no}:2"])

        await own(shop).UpdateWebhookEndpoint(update(""))
        await shop.paid()
        assert fresh.trade.rows("SELECT count(*) FROM webhook") == [(1,)]
        await own(shop).UpdateWebhookEndpoint(update(second.url))
        told = await shop.paid()
        await eventually(lambda: second.came[-1].id == f"{told.trade_no}:{told.version}")
        assert len(first.came) == 1


async def test_a_webhook_that_waits_for_an_app_without_a_url_fails_its_try(
    fresh: World, receiver: Receiver
):
    """It is not lost: there are tries to come."""
    receiver.then(500)
    shop = await fresh.shop(webhook_url=receiver.url)
    await shop.paid()
    await eventually(lambda: fresh.trade.rows("SELECT tries FROM webhook") == [(1,)])
    await own(shop).UpdateWebhookEndpoint(update(""))
    await fresh.trade.shift("15 seconds")
    await eventually(lambda: fresh.trade.rows("SELECT tries FROM webhook") == [(2,)])
    problem = "SELECT problem FROM webhook_attempt WHERE try_no = 2"
    assert fresh.trade.rows(problem) == [("the app has no url for webhooks",)]


async def test_an_old_secret_signs_until_its_overlap_is_over(fresh: World, receiver: Receiver):
    """Two signatures, either of which fits; then one."""
    shop = await fresh.shop(webhook_url=receiver.url)
    rotated = await own(shop).RotateWebhookSecret(rotate(2))
    old, new = shop.webhook_secret, rotated.webhook_secret
    assert new.startswith("whsec_")
    assert new != old
    until = rotated.endpoint.old_secret_end_time.ToDatetime()
    left = until - fresh.desk.clock.now().replace(tzinfo=None)
    assert timedelta(hours=1, minutes=55) < left <= timedelta(hours=2)

    await shop.paid()
    await eventually(lambda: len(receiver.came) == 1)
    assert len(receiver.came[0].headers["webhook-signature"].split(" ")) == 2
    assert receiver.came[0].is_signed(old)
    assert receiver.came[0].is_signed(new)

    await fresh.trade.shift("2 hours")
    assert not (await endpoint(shop)).HasField("old_secret_end_time")
    await shop.paid()
    await eventually(lambda: len(receiver.came) == 2)
    assert not receiver.came[1].is_signed(old)
    assert receiver.came[1].is_signed(new)


async def test_a_second_rotation_ends_the_overlap_and_none_has_none(
    fresh: World, receiver: Receiver
):
    """Never more than two; 0 hours: the old one is gone at once."""
    shop = await fresh.shop(webhook_url=receiver.url)
    secrets = [shop.webhook_secret]
    for hours in (24, 24, 0):
        answer = await own(shop).RotateWebhookSecret(rotate(hours))
        secrets.append(answer.webhook_secret)
        await shop.paid()
        await eventually(lambda: len(receiver.came) == len(secrets) - 1)
    signed = [[one.is_signed(secret) for secret in secrets] for one in receiver.came]
    assert signed == [
        [True, True, False, False],
        [False, True, True, False],
        [False, False, False, True],
    ]


async def test_a_repetition_changes_nothing_and_tells_no_secret(world: World, shop: Shop):
    """The endpoint as it is now; other content under the id is refused."""
    first = rotate()
    made = await ask(own(shop).RotateWebhookSecret, first)
    again = await ask(own(shop).RotateWebhookSecret, first)
    assert (made.replayed, again.replayed) == (False, True)
    assert made.message.webhook_secret
    assert again.message.webhook_secret == ""
    assert again.message.endpoint == made.message.endpoint
    other = rotate(1, request_id=first.request_id)
    assert await reason(own(shop).RotateWebhookSecret(other)) == "REQUEST_REUSED"

    moved = update("http://127.0.0.1:9/a")
    await own(shop).UpdateWebhookEndpoint(moved)
    await own(shop).UpdateWebhookEndpoint(update("http://127.0.0.1:9/b"))
    again = await ask(own(shop).UpdateWebhookEndpoint, moved)
    assert again.replayed
    assert again.message.endpoint.url == "http://127.0.0.1:9/b", "as it is now"


async def test_two_rotations_at_once_leave_both_secrets_valid(fresh: World, receiver: Receiver):
    """Held at the app's row: one after the other, none is lost; the first one's is the old one."""
    shop = await fresh.shop(webhook_url=receiver.url)
    stub = own(shop)
    async with holding(fresh, APP_ROW, app_id=shop.app.app_id):
        tasks = [asyncio.create_task(_call(stub.RotateWebhookSecret(rotate()))) for _ in range(2)]
        await fresh.trade.blocked(1)  # The second waits behind the first, in this process.
    told = [answer.webhook_secret for answer in await together(*tasks)]
    assert all(told)
    await shop.paid()
    await eventually(lambda: receiver.came)
    assert [receiver.came[0].is_signed(secret) for secret in told] == [True, True]
    assert not receiver.came[0].is_signed(shop.webhook_secret)


async def test_one_request_at_once_ten_times_rotates_once(world: World, shop: Shop):
    """One tells the secret."""
    request = rotate()
    answers = await together(*(own(shop).RotateWebhookSecret(request) for _ in range(10)))
    assert sum(bool(answer.webhook_secret) for answer in answers) == 1
    version = "SELECT version FROM app WHERE app_id = %(app_id)s"
    assert world.trade.rows(version, app_id=shop.app.app_id) == [(2,)]


async def test_an_operator_acts_for_any_app_by_name(world: World, shop: Shop):
    """And an app for itself only."""
    url = f"http://127.0.0.1:9/{serial()}"
    app_id = shop.app.app_id
    await operator(world).UpdateWebhookEndpoint(update(url, app_id=app_id))
    assert (await endpoint(shop)).url == url
    named = pb.GetWebhookEndpointRequest(app_id=app_id)
    assert (await operator(world).GetWebhookEndpoint(named)).endpoint.url == url
    assert (await own(shop).GetWebhookEndpoint(named)).endpoint.url == url
    other = await world.bare_shop()
    assert await reason(own(other).GetWebhookEndpoint(named)) == "APP_NOT_FOUND"


async def test_refusals_come_in_the_order_of_the_contract(ground: Ground):
    """A request with every fault is refused for the first; mending one shows the next."""
    async with running(ground, egress_allow_private=False) as world:
        shop = await world.bare_shop()
        known = update("")
        await operator(world).UpdateWebhookEndpoint(
            update("", request_id="u1", app_id=shop.app.app_id)
        )
        stub = operator(world)
        wrong = update("http://127.0.0.1:9/", request_id="u1")
        seen = [await reason(stub.UpdateWebhookEndpoint(wrong))]
        wrong.app_id = "app_nobody"
        seen.append(await reason(stub.UpdateWebhookEndpoint(wrong)))
        wrong.app_id = shop.app.app_id
        seen.append(await reason(stub.UpdateWebhookEndpoint(wrong)))
        wrong.request_id = known.request_id
        seen.append(await reason(stub.UpdateWebhookEndpoint(wrong)))
        wrong.url = "https://93.184.216.34/hooks"
        assert not (await ask(stub.UpdateWebhookEndpoint, wrong)).replayed
    assert seen == ["APP_ID_REQUIRED", "APP_NOT_FOUND", "REQUEST_REUSED", "WEBHOOK_URL_REFUSED"]


@pytest.mark.parametrize("hours", [-1, 169])
async def test_an_overlap_is_a_week_at_most(shop: Shop, hours: int):
    """Anything else is malformed."""
    assert await reason(own(shop).RotateWebhookSecret(rotate(hours))) == "INVALID_FIELDS"


async def _call(call: grpc.aio.UnaryUnaryCall):
    return await call
