"""What operators set up, and who may."""

import grpc
import pytest

from tests.service.risk.asking import decisions, payment, put_deny_entry, put_limit
from tests.services import fields_of, info_of
from tongbao.common.v1 import money_pb2
from tongbao.risk.v1 import risk_ops_service_pb2 as ops
from tongbao.risk.v1.risk_ops_service_pb2_grpc import RiskOpsServiceStub


def limit(minor_units=1, currency="CNY", app_id="mall"):
    amount = money_pb2.Money(currency_code=currency, minor_units=minor_units)
    return ops.PutLimitRequest(app_id=app_id, daily_amount=amount)


async def test_a_limit_put_again_replaces_the_old_one(risk):
    """One row for each app and currency."""
    await put_limit(risk, 5)
    await put_limit(risk, 7)
    await put_limit(risk, 9, currency="JPY")
    sql = "SELECT currency_code, daily_minor, version FROM user_limit ORDER BY currency_code"
    assert risk.rows(sql) == [("CNY", 7, 2), ("JPY", 9, 1)]


async def test_a_lifted_entry_stays_with_its_cause(risk):
    """Who was on the list can be seen later."""
    await put_deny_entry(risk)
    await put_deny_entry(risk, lifted=True)
    sql = "SELECT user_no, cause, lifted, version FROM deny_entry"
    assert risk.rows(sql) == [("u1", "stolen phone", True, 2)]


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (limit(-1), ["daily_amount"]),
        (limit(currency="XYZ"), ["daily_amount.currency_code"]),
        (limit(app_id=""), ["app_id"]),
        (ops.PutLimitRequest(), ["app_id", "daily_amount"]),
    ],
)
async def test_a_limit_that_breaks_its_rules_is_refused(risk, request_, fields):
    """Every field at once; a currency that nobody can count in never becomes a limit."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await RiskOpsServiceStub(risk.operator()).PutLimit(request_)
    assert info_of(caught.value).reason == "INVALID_FIELDS"
    assert fields_of(caught.value) == fields
    assert risk.rows("SELECT app_id FROM user_limit") == []


async def test_only_operators_set_limits(risk):
    """A service may not, though it reaches the method on its socket."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await RiskOpsServiceStub(risk.channel("payment")).PutLimit(limit())
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert dict(info_of(caught.value).metadata) == {"permission": "limit.put"}


async def test_evaluation_is_not_to_be_had_on_the_public_port(risk):
    """The door itself is not there."""
    risk.channel = lambda _: risk.operator()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await decisions(risk, payment())
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
