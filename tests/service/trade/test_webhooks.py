"""ListWebhooks, ListWebhookAttempts, ResendWebhook: what became of what an app was told."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from prometheus_client import REGISTRY

from tests.service.trade.receiver import Receiver
from tests.service.trade.shop import Shop, World, ask, reason, serial, together
from tests.service.trade.test_webhook_endpoint import operator, own, update
from tests.waiting import eventually
from tongbao.trade.v1 import app_service_pb2 as pb
from tongbao.trade.v1 import webhook_pb2
from tongbao.trade.v1.events_pb2 import WebhookExhausted
from trade.flow.deliver_webhook import deliver_webhook
from trade.states import WebhookState
from trade.store.columns import WEBHOOK, of, webhook
from trade.webhook import LADDER

Webhook = webhook_pb2.Webhook
PENDING, DELIVERED, EXHAUSTED = (
    Webhook.STATE_PENDING,
    Webhook.STATE_DELIVERED,
    Webhook.STATE_EXHAUSTED,
)


async def listed(shop: Shop, **filters) -> list[Webhook]:
    """All webhooks, over as many pages as there are."""
    found, token = [], ""
    while True:
        request = pb.ListWebhooksRequest(page_token=token, page_size=2, **filters)
        answer = await own(shop).ListWebhooks(request)
        found += answer.webhooks
        if not (token := answer.next_page_token):
            return found


async def attempts(shop: Shop, one: Webhook) -> list[webhook_pb2.WebhookAttempt]:
    found, token = [], ""
    while True:
        request = pb.ListWebhookAttemptsRequest(
            webhook_id=one.webhook_id, page_token=token, page_size=3
        )
        answer = await own(shop).ListWebhookAttempts(request)
        found += answer.attempts
        if not (token := answer.next_page_token):
            return found


async def settled(shop: Shop, state: int, **filters) -> Webhook:
    """The one webhook, as soon as it is in `state`."""
    found = []

    async def there() -> bool:
        found[:] = await listed(shop, **filters)
        return [one.state for one in found] == [state]

    await eventually(there)
    return found[0]


def resend(one: Webhook, **fields) -> pb.ResendWebhookRequest:
    wanted = {"request_id": f"resend-{serial()}", "webhook_id": one.webhook_id}
    return pb.ResendWebhookRequest(**(wanted | fields))


async def exhausted(world: World, shop: Shop, receiver: Receiver) -> Webhook:
    """A webhook that nobody took, at the end of its ladder."""
    receiver.then(*[503] * (len(LADDER) + 1))
    await shop.paid()
    for count, rung in enumerate(LADDER, 1):
        await eventually(
            lambda: world.trade.rows("SELECT tries FROM webhook") == [(count,)]  # noqa: B023
        )
        await world.trade.shift(f"{rung.total_seconds():.0f} seconds")
    return await settled(shop, EXHAUSTED)


async def test_webhooks_are_listed_with_what_became_of_them(world: World, receiver: Receiver):
    """The newest first, by state and by trade; another app's are not there."""
    shop, other = await world.shop(webhook_url=receiver.url), await world.shop()
    one, two = await shop.paid(), await shop.paid()
    refund = (await shop.refund(one, 10)).message.refund

    async def all_delivered() -> bool:
        return [found.state for found in await listed(shop)] == [DELIVERED] * 3

    await eventually(all_delivered)
    ids = [f"{refund.refund_no}:{refund.version}"]
    ids += [f"{trade.trade_no}:{trade.version}" for trade in (two, one)]
    found = await listed(shop)
    assert [webhook.delivery_id for webhook in found] == ids
    assert [webhook.type for webhook in found] == ["refund.succeeded", "trade.paid", "trade.paid"]
    assert {(webhook.tries, webhook.resends) for webhook in found} == {(1, 0)}
    of_one = await listed(shop, trade_no=one.trade_no)
    assert [webhook.delivery_id for webhook in of_one] == [ids[0], ids[2]]
    assert await listed(shop, states=[EXHAUSTED, PENDING]) == []
    assert len(await listed(shop, states=[DELIVERED], trade_no=two.trade_no)) == 1

    assert await listed(other) == []
    request = pb.ListWebhooksRequest(trade_no=one.trade_no)
    assert await reason(own(other).ListWebhooks(request)) == "TRADE_NOT_FOUND"
    named = pb.ListWebhooksRequest(app_id=shop.app.app_id)
    assert list((await operator(world).ListWebhooks(named)).webhooks) == found
    token = (await own(shop).ListWebhooks(pb.ListWebhooksRequest(page_size=1))).next_page_token
    stolen = pb.ListWebhooksRequest(page_token=token, trade_no="0" * 26)
    assert await reason(own(shop).ListWebhooks(stolen)) == "PAGE_TOKEN_INVALID"


async def test_tries_are_listed_the_latest_first(fresh: World, receiver: Receiver):
    """With the receiver's status, the problem and who asked."""
    receiver.then(500, 302)
    shop = await fresh.shop(webhook_url=receiver.url)
    await shop.paid()
    for count in (1, 2):
        await eventually(
            lambda: fresh.trade.rows("SELECT tries FROM webhook") == [(count,)]  # noqa: B023
        )
        await fresh.trade.shift("15 seconds")
    one = await settled(shop, DELIVERED)
    found = await attempts(shop, one)
    assert [(each.try_no, each.http_status, each.by_hand) for each in found] == [
        (3, 200, False), (2, 302, False), (1, 500, False),
    ]  # fmt: skip
    assert [bool(each.problem) for each in found] == [False, True, True]
    other = await fresh.shop()
    request = pb.ListWebhookAttemptsRequest(webhook_id=one.webhook_id)
    assert await reason(own(other).ListWebhookAttempts(request)) == "WEBHOOK_NOT_FOUND"
    odd = pb.ListWebhookAttemptsRequest(webhook_id="whk_x")
    assert await reason(own(shop).ListWebhookAttempts(odd)) == "INVALID_FIELDS"


async def test_the_end_of_the_ladder_is_an_alarm_an_event_and_a_dead_letter(
    fresh: World, receiver: Receiver
):
    """And a resend by hand brings it to its receiver after all: same id, same bytes."""
    name = "tongbao_webhooks_exhausted_total"
    before = REGISTRY.get_sample_value(name)
    shop = await fresh.shop(webhook_url=receiver.url)
    dead = await exhausted(fresh, shop, receiver)
    assert REGISTRY.get_sample_value(name) == before + 1
    [event] = fresh.trade.published(WebhookExhausted)
    assert event.webhook == dead
    assert dead.tries == len(LADDER) + 1
    assert await listed(shop, states=[EXHAUSTED]) == [dead]

    again = (await own(shop).ResendWebhook(resend(dead))).webhook
    assert (again.state, again.resends) == (PENDING, 1)
    taken = await settled(shop, DELIVERED)
    assert (taken.tries, taken.resends) == (len(LADDER) + 2, 1)
    assert len({(one.id, one.body) for one in receiver.came}) == 1
    assert (await attempts(shop, taken))[0].by_hand
    assert await listed(shop, states=[EXHAUSTED]) == []


async def test_a_resend_that_fails_is_a_dead_letter_again(fresh: World, receiver: Receiver):
    """With another event: it has another version."""
    shop = await fresh.shop(webhook_url=receiver.url)
    dead = await exhausted(fresh, shop, receiver)
    receiver.then(500)
    await own(shop).ResendWebhook(resend(dead))
    await eventually(lambda: len(fresh.trade.published(WebhookExhausted)) == 2)
    assert (await settled(shop, EXHAUSTED)).tries == len(LADDER) + 2


async def test_what_was_delivered_is_sent_again_when_somebody_asks(
    world: World, receiver: Receiver
):
    """By the app, and by an operator; each request once."""
    shop = await world.shop(webhook_url=receiver.url)
    await shop.paid()
    one = await settled(shop, DELIVERED)
    request = resend(one)
    await own(shop).ResendWebhook(request)
    assert (await settled(shop, DELIVERED)).tries == 2
    again = await ask(own(shop).ResendWebhook, request)
    assert again.replayed
    assert again.message.webhook.resends == 1
    reused = resend(one, request_id=request.request_id, app_id=shop.app.app_id)
    assert await reason(own(shop).ResendWebhook(reused)) == "REQUEST_REUSED"

    await operator(world).ResendWebhook(resend(one, app_id=shop.app.app_id))
    assert (await settled(shop, DELIVERED)).tries == 3
    assert [each.by_hand for each in await attempts(shop, one)] == [True, True, False]
    assert len({(each.id, each.body) for each in receiver.came}) == 1
    assert len(receiver.came) == 3


async def test_a_resend_during_a_delivery_is_a_try_of_its_own(fresh: World, receiver: Receiver):
    """The try that was on its way is taken, but it had begun before somebody asked: it ends
    nothing."""
    shop = await fresh.shop(webhook_url=receiver.url)
    trade = await shop.paid()
    one = await settled(shop, DELIVERED)
    sql = f"SELECT {of('w', WEBHOOK)}, payload FROM webhook w"
    await own(shop).ResendWebhook(resend(one))
    await settled(shop, DELIVERED)
    [row] = await fresh.desk.db.rows(sql)
    fresh.trade.rows(
        "UPDATE webhook SET state = 'pending', due_time = business_now() + interval '1 day'"
    )
    on_its_way = replace(webhook(row), state=WebhookState.PENDING)

    gates = asyncio.Event(), asyncio.Event()
    receiver.hold(*gates)
    delivery = asyncio.create_task(deliver_webhook(fresh.desk, on_its_way, payload=row.payload))
    await eventually(lambda: len(receiver.came) == 3)
    assert (await own(shop).ResendWebhook(resend(one))).webhook.resends == 2
    await eventually(lambda: len(receiver.came) == 4)
    gates[0].set()
    await delivery
    [still] = await listed(shop)
    assert still.state == PENDING
    gates[1].set()
    taken = await settled(shop, DELIVERED)
    assert taken.resends == 2
    assert {one.id for one in receiver.came} == {f"{trade.trade_no}:{trade.version}"}
    assert sorted(each.by_hand for each in await attempts(shop, taken)) == [
        False,
        False,
        True,
        True,
    ]


async def test_ten_resends_of_one_request_at_once_send_once(fresh: World, receiver: Receiver):
    """Nine are repetitions."""
    shop = await fresh.shop(webhook_url=receiver.url)
    await shop.paid()
    one = await settled(shop, DELIVERED)
    request = resend(one)
    answers = await together(*(own(shop).ResendWebhook(request) for _ in range(10)))
    assert {answer.webhook.resends for answer in answers} == {1}
    assert (await settled(shop, DELIVERED)).resends == 1
    assert len(receiver.came) == 2


async def test_refusals_of_a_resend_come_in_the_order_of_the_contract(
    world: World, receiver: Receiver
):
    """A request with every fault is refused for the first; mending one shows the next."""
    shop, other = await world.shop(webhook_url=receiver.url), await world.bare_shop()
    await shop.paid()
    one = await settled(shop, DELIVERED)
    used = resend(one, app_id=shop.app.app_id)
    await operator(world).ResendWebhook(used)
    await settled(shop, DELIVERED)
    await own(shop).UpdateWebhookEndpoint(update(""))

    stub = operator(world)
    wrong = resend(one, request_id=used.request_id)
    seen = [await reason(stub.ResendWebhook(wrong))]
    wrong.app_id = "app_nobody"
    seen.append(await reason(stub.ResendWebhook(wrong)))
    wrong.app_id = other.app.app_id
    seen.append(await reason(stub.ResendWebhook(wrong)))
    wrong.request_id = f"resend-{serial()}"
    seen.append(await reason(stub.ResendWebhook(wrong)))
    wrong.app_id = shop.app.app_id
    seen.append(await reason(stub.ResendWebhook(wrong)))
    await own(shop).UpdateWebhookEndpoint(update(receiver.url))
    assert not (await ask(stub.ResendWebhook, wrong)).replayed
    assert seen == [
        "APP_ID_REQUIRED",
        "APP_NOT_FOUND",
        "REQUEST_REUSED",
        "WEBHOOK_NOT_FOUND",
        "WEBHOOK_URL_MISSING",
    ]
    await settled(shop, DELIVERED)


_PENDING = "UPDATE webhook SET state = 'pending', due_time = business_now() + interval '1 day'"
