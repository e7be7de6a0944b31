"""PutAppLimits: how much an app may ask, as rows of the app."""

from __future__ import annotations

import grpc
import pytest

from mesh.limits import Limits
from tests.service.trade.shop import Shop, World, reason
from tests.services import info_of
from tests.waiting import eventually
from tongbao.trade.v1 import setup_pb2
from tongbao.trade.v1 import trade_ops_service_pb2 as ops


def request(app_id: str, **limits: int) -> ops.PutAppLimitsRequest:
    usual = {"per_second": 100, "burst": 200, "in_flight": 50, "streams": 4}
    return ops.PutAppLimitsRequest(app_id=app_id, limits=setup_pb2.AppLimits(**(usual | limits)))


async def test_limits_are_put_in_the_place_of_those_before(world: World, shop: Shop):
    """An app without any has none of its own; the last ones put are those that hold."""
    assert await world.desk.directory.limits_of("app_nobody") is None
    app_id = shop.app.app_id
    for burst in (200, 300):
        wanted = request(app_id, burst=burst)
        assert (await world.ops.PutAppLimits(wanted)).limits == wanted.limits
    [desk] = await world.replicas(1)
    found = await desk.directory.limits_of(app_id)
    assert found == Limits(per_second=100, burst=300, in_flight=50, streams=4)


async def test_limits_hold_at_the_door(world: World):
    """With a burst of one one of two calls in a row is refused."""
    shop = await world.shop()
    await world.ops.PutAppLimits(request(shop.app.app_id, per_second=1, burst=1))

    async def is_limited() -> bool:
        try:
            await shop.create()
        except grpc.aio.AioRpcError as error:
            return info_of(error).reason == "RATE_LIMITED"
        return False

    await eventually(is_limited)


async def test_an_app_that_is_not_there_has_no_limits(world: World):
    """And gets none."""
    assert await reason(world.ops.PutAppLimits(request("app_nobody"))) == "APP_NOT_FOUND"


@pytest.mark.parametrize("field", ["per_second", "burst", "in_flight", "streams"])
async def test_a_limit_of_nothing_is_refused(world: World, shop: Shop, field: str):
    """An app is not shut out by a limit."""
    wanted = request(shop.app.app_id, **{field: 0})
    assert await reason(world.ops.PutAppLimits(wanted)) == "INVALID_FIELDS"
