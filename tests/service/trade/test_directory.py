"""The directory: what never changes is read once, what is absent each time, keys anew."""

from __future__ import annotations

import pytest

from tests.service.trade.shop import Shop, World, serial, together
from tests.waiting import eventually
from tongbao.trade.v1 import trade_service_pb2 as pb
from trade import directory as module
from trade.directory import Directory
from trade.model import Wallet
from trade.store import setup


def runs(world: World, statement: str) -> int:
    """How often a statement ran."""
    return sum(world.desk.db.sizes().get(statement, {}).values())


async def test_what_was_seen_is_not_read_again(world: World, shop: Shop):
    """One read for each, however often it is asked for."""
    directory = Directory(world.desk.db)
    app_id = shop.app.app_id
    for statement, recall in (
        ("find_app", lambda: directory.app(app_id)),
        ("find_app_of", lambda: directory.app_of(shop.code)),
        ("find_merchant", lambda: directory.merchant(app_id, shop.merchant_id)),
        ("find_product", lambda: directory.product(app_id, shop.collect)),
        ("find_wallet", lambda: directory.wallet(app_id, "u1", "CNY")),
    ):
        before = runs(world, statement)
        first, second = await recall(), await recall()
        assert first is second
        assert first is not None
        assert runs(world, statement) == before + 1


async def test_what_another_replica_makes_is_found_at_once(world: World, shop: Shop):
    """Absence is never remembered."""
    directory, user = Directory(world.desk.db), f"u{serial()}"
    assert await directory.wallet(shop.app.app_id, user, "CNY") is None
    made = Wallet(
        wallet_id=f"wlt_{serial()}",
        app_id=shop.app.app_id,
        user_no=user,
        currency_code="CNY",
        create_time=world.desk.clock.now(),
    )
    assert await setup.add_wallet(world.desk.db, made)
    assert await directory.wallet(shop.app.app_id, user, "CNY") == made


async def test_it_forgets_everything_before_it_grows_without_end(
    world: World, shop: Shop, monkeypatch: pytest.MonkeyPatch
):
    """With room for two, the third is remembered alone."""
    monkeypatch.setattr(module, "_REMEMBERED_MAX", 2)
    directory = Directory(world.desk.db)
    app_id = shop.app.app_id
    await directory.app_of(shop.code)
    await directory.product(app_id, shop.collect)
    await directory.merchant(app_id, shop.merchant_id)
    before = runs(world, "find_app_of")
    await directory.app_of(shop.code)
    assert runs(world, "find_app_of") == before + 1


async def test_a_new_key_signs_soon_and_a_retired_one_soon_no_more(
    world: World, shop: Shop, monkeypatch: pytest.MonkeyPatch
):
    """Rotation: two keys for a while, then the new one alone."""
    monkeypatch.setattr(module, "KEYS_SECONDS", 0.2)
    directory, app_id = Directory(world.desk.db), shop.app.app_id
    old = await directory.keys_of(app_id)
    new = world.ground.app(app_id)
    world.trade.rows(
        "INSERT INTO app_key (key_id, app_id, public_key_pem, fingerprint)"
        " VALUES (%(id)s, %(app)s, %(pem)s, %(id)s)",
        id=f"key_{serial()}",
        app=app_id,
        pem=new.pem,
    )

    async def both():
        return len(await directory.keys_of(app_id)) == 2

    await eventually(both)
    off = """UPDATE app_key SET retire_time = now()
             WHERE app_id = %(app)s AND public_key_pem <> %(pem)s"""
    world.trade.rows(off, app=app_id, pem=new.pem)

    async def new_one():
        return len(await directory.keys_of(app_id)) == 1

    await eventually(new_one)
    assert (await directory.keys_of(app_id))[0] != old[0]
    assert await directory.keys_of("app_nobody") == ()


async def test_an_app_may_sign_with_either_of_two_keys(world: World, shop: Shop):
    """At the door, with both tokens."""
    new = world.ground.app(shop.app.app_id)
    world.trade.rows(
        "INSERT INTO app_key (key_id, app_id, public_key_pem, fingerprint)"
        " VALUES (%(id)s, %(app)s, %(pem)s, %(id)s)",
        id=f"key_{serial()}",
        app=shop.app.app_id,
        pem=new.pem,
    )
    stub = type(shop.stub)(world.trade.app(new))
    request = pb.GetWalletRequest(user_no="u1", currency_code="CNY")

    async def let_in():
        [settled] = await together(stub.GetWallet(request))
        return isinstance(settled, pb.GetWalletResponse)

    await eventually(let_in)
    assert (await shop.stub.GetWallet(request)).wallet.user_no == "u1"
