"""AddAppKey, RetireAppKey, ListAppKeys: rotation is two keys, and the last one stays."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mesh import tokens
from mesh.clock import real_now, to_timestamp
from mesh.tokens import Signer, public_key
from tests.service.trade.shop import (
    Shop,
    World,
    ask,
    calling,
    holding,
    reason,
    refused,
    serial,
    together,
)
from tests.service.trade.test_webhook_endpoint import APP_ROW, operator, own
from tests.services import App, Ground
from tests.waiting import eventually
from tongbao.trade.v1 import app_key_pb2
from tongbao.trade.v1 import app_service_pb2 as pb
from tongbao.trade.v1 import trade_service_pb2 as trade
from tongbao.trade.v1.trade_service_pb2_grpc import TradeServiceStub
from trade.flow.retire_app_key import retire_app_key

Key = app_key_pb2.AppKey


def another(ground: Ground, shop: Shop) -> App:
    """A new key pair of the shop's app."""
    pair = ground.app("x")
    return App(shop.app.app_id, Signer(shop.app.app_id, pair.signer._key), pair.pem)


def add(pem: str, **fields) -> pb.AddAppKeyRequest:
    wanted = {"request_id": f"add-{serial()}", "public_key_pem": pem}
    return pb.AddAppKeyRequest(**(wanted | fields))


def retire(key: Key | str, **fields) -> pb.RetireAppKeyRequest:
    key_id = key if isinstance(key, str) else key.key_id
    wanted = {"request_id": f"retire-{serial()}", "key_id": key_id}
    return pb.RetireAppKeyRequest(**(wanted | fields))


async def keys(shop: Shop) -> list[Key]:
    return list((await own(shop).ListAppKeys(pb.ListAppKeysRequest())).keys)


def fingerprint(pem: str) -> str:
    """As openssl and sha256sum print it."""
    der = public_key(pem).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()


async def works(world: World, app: App) -> bool:
    """Whether a call with the app's key is let in."""
    call = TradeServiceStub(world.trade.app(app)).GetTrade(trade.GetTradeRequest(order_no="1"))
    told = await reason(call)
    assert told in ("TRADE_NOT_FOUND", "TOKEN_INVALID"), told
    return told == "TRADE_NOT_FOUND"


async def test_a_rotation_from_the_first_key_to_the_second(world: World, shop: Shop):
    """Both sign while it lasts; the retired one is refused, also a token that was used before."""
    new = another(world.ground, shop)
    assert not await works(world, new)
    added = (await own(shop).AddAppKey(add(new.pem))).key
    assert (added.state, added.fingerprint) == (Key.STATE_ACTIVE, fingerprint(new.pem))
    assert await works(world, new), "at once, where it was added"
    assert await works(world, shop.app)
    old, listed = await keys(shop)
    assert listed == added
    assert old.fingerprint == fingerprint(shop.app.pem)

    later = shop.at(world.trade)
    later.app = new
    gone = (await own(later).RetireAppKey(retire(old))).key
    assert gone.state == Key.STATE_RETIRED
    assert gone.retire_time.ToDatetime() <= real_now().replace(tzinfo=None)

    async def is_refused() -> bool:
        return not await works(world, shop.app)

    await eventually(is_refused)
    assert await works(world, new)
    assert [key.state for key in await keys(later)] == [Key.STATE_RETIRED, Key.STATE_ACTIVE]


async def test_every_replica_refuses_a_retired_key(ground: Ground, fresh: World):
    """Another process had verified the very token before."""
    shop = await fresh.shop()
    new = another(ground, shop)
    await own(shop).AddAppKey(add(new.pem))
    request = trade.GetTradeRequest(order_no="1")
    async with ground.spawn("trade", replica=1) as replica:
        there = TradeServiceStub(replica.public(shop.app.signer.token()))
        told = await reason(there.GetTrade(request, wait_for_ready=True))
        assert told == "TRADE_NOT_FOUND"
        [old, _] = await keys(shop)
        await own(shop).RetireAppKey(retire(old))

        async def is_refused() -> bool:
            return await reason(there.GetTrade(request)) == "TOKEN_INVALID"

        await eventually(is_refused)
        fine = TradeServiceStub(replica.public(new.signer.token()))
        assert await reason(fine.GetTrade(request)) == "TRADE_NOT_FOUND"


async def test_a_stream_ends_when_its_key_is_retired(world: World, shop: Shop, monkeypatch):
    """A watch that was opened before."""
    monkeypatch.setattr(tokens, "LOOK_SECONDS", 0.1)
    new = another(world.ground, shop)
    await own(shop).AddAppKey(add(new.pem))
    made = await shop.create()
    call = shop.stub.WatchTrade(trade.WatchTradeRequest(trade_no=made.trade_no))
    await call.read()
    [old, _] = await keys(shop)
    later = shop.at(world.trade)
    later.app = new
    await own(later).RetireAppKey(retire(old))
    assert await reason(call.read()) == "TOKEN_INVALID"


async def test_a_key_may_be_retired_at_a_moment_to_come(world: World, shop: Shop):
    """It is good until then; the moment may be moved."""
    new = another(world.ground, shop)
    await own(shop).AddAppKey(add(new.pem))
    [old, _] = await keys(shop)
    at = to_timestamp(real_now() + timedelta(hours=1))
    told = (await own(shop).RetireAppKey(retire(old, retire_time=at))).key
    assert (told.state, told.retire_time) == (Key.STATE_RETIRING, at)
    assert await works(world, shop.app)

    soon = to_timestamp(real_now() + timedelta(seconds=1))
    await own(shop).RetireAppKey(retire(old, retire_time=soon))

    async def is_refused() -> bool:
        return not await works(world, shop.app)

    await eventually(is_refused)
    assert await works(world, new)


async def test_the_last_live_key_cannot_be_retired(world: World, shop: Shop):
    """Neither the only one, nor the one that is left, nor both at a moment to come."""
    [first] = await keys(shop)
    refusal = await refused(own(shop).RetireAppKey(retire(first)))
    assert refusal == ("APP_KEY_LAST", {"key_id": first.key_id})
    second = (await own(shop).AddAppKey(add(another(world.ground, shop).pem))).key
    at = to_timestamp(real_now() + timedelta(hours=1))
    await own(shop).RetireAppKey(retire(first, retire_time=at))
    for moment in (None, at):
        request = retire(second, retire_time=moment)
        assert await reason(own(shop).RetireAppKey(request)) == "APP_KEY_LAST"


async def test_two_keys_that_are_retired_at_once_leave_one(fresh: World):
    """Held at the app's row on two replicas: one passes, the other is the last."""
    shop = await fresh.shop()
    await own(shop).AddAppKey(add(another(fresh.ground, shop).pem))
    pair = await keys(shop)
    desks = await fresh.replicas(2)

    async def retires(desk, key: Key):
        with calling(shop):
            return await retire_app_key(
                desk,
                request_id=f"retire-{serial()}",
                fingerprint=b"",
                app_id="",
                key_id=key.key_id,
                retire_time=None,
            )

    async with holding(fresh, APP_ROW, app_id=shop.app.app_id):
        tasks = [
            asyncio.create_task(retires(desk, key)) for desk, key in zip(desks, pair, strict=True)
        ]
        await fresh.trade.blocked(2)
    settled = await together(*tasks)
    assert sorted(getattr(one, "reason", "retired") for one in settled) == [
        "APP_KEY_LAST",
        "retired",
    ]
    live = "SELECT count(*) FROM app_key WHERE app_id = %(app_id)s AND retire_time IS NULL"
    assert fresh.trade.rows(live, app_id=shop.app.app_id) == [(1,)]


async def test_an_app_has_two_live_keys_at_most(world: World, shop: Shop):
    """A retired one makes room, and never comes back."""
    pems = [another(world.ground, shop).pem for _ in range(3)]
    second = (await own(shop).AddAppKey(add(pems[0]))).key
    assert await reason(own(shop).AddAppKey(add(pems[1]))) == "APP_KEYS_FULL"
    at = to_timestamp(real_now() + timedelta(hours=1))
    await own(shop).RetireAppKey(retire(second, retire_time=at))
    assert await reason(own(shop).AddAppKey(add(pems[1]))) == "APP_KEYS_FULL", "it still signs"
    await own(shop).RetireAppKey(retire(second))
    await own(shop).AddAppKey(add(pems[1]))
    refusal = await refused(own(shop).AddAppKey(add(pems[0])))
    assert refusal == ("APP_KEY_KNOWN", {"key_id": second.key_id})


async def test_three_that_are_added_at_once_leave_two(world: World, shop: Shop):
    """One passes."""
    requests = [add(another(world.ground, shop).pem) for _ in range(3)]
    settled = await together(*(own(shop).AddAppKey(request) for request in requests))
    assert sum(not isinstance(one, Exception) for one in settled) == 1
    assert len(await keys(shop)) == 2


async def test_a_repetition_adds_and_retires_nothing(world: World, shop: Shop):
    """The key as it is now; other content under the id is refused."""
    request = add(another(world.ground, shop).pem)
    first = await ask(own(shop).AddAppKey, request)
    again = await ask(own(shop).AddAppKey, request)
    assert (first.replayed, again.replayed) == (False, True)
    assert first.message == again.message
    taken = add(another(world.ground, shop).pem, request_id=request.request_id)
    assert await reason(own(shop).AddAppKey(taken)) == "REQUEST_REUSED"

    gone = retire(first.message.key)
    await own(shop).RetireAppKey(gone)
    again = await ask(own(shop).RetireAppKey, gone)
    assert again.replayed
    assert again.message.key.state == Key.STATE_RETIRED
    again = await ask(own(shop).AddAppKey, request)
    assert (again.replayed, again.message.key.state) == (True, Key.STATE_RETIRED)
    reused = retire("key_" + "0" * 26, request_id=gone.request_id)
    assert await reason(own(shop).RetireAppKey(reused)) == "REQUEST_REUSED"


async def test_keys_are_ones_own(world: World, shop: Shop):
    """Another app's are not there; an operator names the app."""
    other = await world.bare_shop()
    [mine] = await keys(shop)
    assert await reason(own(other).RetireAppKey(retire(mine))) == "APP_KEY_NOT_FOUND"
    named = pb.ListAppKeysRequest(app_id=shop.app.app_id)
    assert await reason(own(other).ListAppKeys(named)) == "APP_NOT_FOUND"
    assert list((await operator(world).ListAppKeys(named)).keys) == [mine]
    pair = another(world.ground, shop)
    await operator(world).AddAppKey(add(pair.pem, app_id=shop.app.app_id))
    await operator(world).RetireAppKey(retire(mine, app_id=shop.app.app_id))


async def test_refusals_come_in_the_order_of_the_contract(world: World, shop: Shop):
    """A request with every fault is refused for the first; mending one shows the next."""
    stub, app_id = operator(world), shop.app.app_id
    used = add(another(world.ground, shop).pem, app_id=app_id)
    await stub.AddAppKey(used)
    wrong = add("no key", request_id=used.request_id)
    seen = [await reason(stub.AddAppKey(wrong))]
    wrong.app_id = "app_nobody"
    seen.append(await reason(stub.AddAppKey(wrong)))
    wrong.app_id = app_id
    seen.append(await reason(stub.AddAppKey(wrong)))
    wrong.request_id = f"add-{serial()}"
    seen.append(await reason(stub.AddAppKey(wrong)))
    wrong.public_key_pem = shop.app.pem
    seen.append(await reason(stub.AddAppKey(wrong)))
    wrong.public_key_pem = another(world.ground, shop).pem
    seen.append(await reason(stub.AddAppKey(wrong)))
    assert seen == [
        "APP_ID_REQUIRED",
        "APP_NOT_FOUND",
        "REQUEST_REUSED",
        "PUBLIC_KEY_INVALID",
        "APP_KEY_KNOWN",
        "APP_KEYS_FULL",
    ]


@pytest.mark.parametrize("field", ["request_id", "public_key_pem"])
async def test_what_is_required_is_required(world: World, shop: Shop, field: str):
    """An empty field is malformed, before any reason."""
    wrong = add(another(world.ground, shop).pem)
    wrong.ClearField(field)
    assert await reason(own(shop).AddAppKey(wrong)) == "INVALID_FIELDS"
