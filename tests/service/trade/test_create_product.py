"""CreateProduct: data, not code; once per request, refusals in order."""

from __future__ import annotations

from tests.service.trade.shop import (
    BALANCE,
    COLLECT,
    QR,
    RECHARGE,
    Shop,
    World,
    ask,
    reason,
    refused,
    serial,
)
from tongbao.trade.v1 import trade_ops_service_pb2 as ops


def request(*shops: Shop, **fields) -> ops.CreateProductRequest:
    number = serial()
    wanted = {
        "request_id": f"product-{number}",
        "product_code": f"P{number}",
        "type": COLLECT,
        "name": "tea",
        "tools": [BALANCE, QR],
        "expiry_seconds": 60,
        "app_ids": [shop.app.app_id for shop in shops],
    }
    return ops.CreateProductRequest(**(wanted | fields))


async def test_a_product_is_made_for_the_apps_named(world: World, shop: Shop):
    """It comes back as it was; another app cannot use it."""
    other = await world.shop()
    wanted = request(shop)
    product = (await world.ops.CreateProduct(wanted)).product
    order = shop.order(product_code=product.product_code)
    trade = await shop.create(order)

    assert (product.type, list(product.tools)) == (COLLECT, [BALANCE, QR])
    assert product.expiry_seconds == 60
    assert trade.expire_time.ToNanoseconds() - trade.create_time.ToNanoseconds() == 60 * 10**9
    strange = other.order(product_code=product.product_code)
    assert await refused(other.create(strange)) == (
        "PRODUCT_NOT_FOUND",
        {"product_code": product.product_code},
    )


async def test_a_repetition_returns_the_same_product(world: World, shop: Shop):
    """With the mark."""
    wanted = request(shop)
    first = await ask(world.ops.CreateProduct, wanted)
    again = await ask(world.ops.CreateProduct, wanted)
    assert (first.replayed, again.replayed) == (False, True)
    assert again.message == first.message


async def test_refusals_come_in_the_order_of_the_contract(world: World, shop: Shop):
    """A request with every fault is refused for the first; mending one shows the next."""
    known = request(shop)
    await world.ops.CreateProduct(known)
    wrong = request(
        shop,
        request_id=known.request_id,
        product_code=known.product_code,
        app_ids=[shop.app.app_id, "nobody"],
    )
    seen = [await refused(world.ops.CreateProduct(wrong))]
    wrong.request_id = f"product-{serial()}"
    seen.append(await refused(world.ops.CreateProduct(wrong)))
    wrong.app_ids[:] = [shop.app.app_id]
    seen.append(await refused(world.ops.CreateProduct(wrong)))
    wrong.product_code = f"P{serial()}"

    assert not (await ask(world.ops.CreateProduct, wrong)).replayed
    assert seen == [
        ("REQUEST_REUSED", {"field": "request_id", "number": known.request_id}),
        ("APP_NOT_FOUND", {"app_id": "nobody"}),
        ("PRODUCT_CODE_TAKEN", {"product_code": known.product_code}),
    ]


async def test_a_recharge_by_balance_is_malformed(world: World, shop: Shop):
    """A wallet cannot be filled from itself."""
    wrong = request(shop, type=RECHARGE)
    assert await reason(world.ops.CreateProduct(wrong)) == "INVALID_FIELDS"
