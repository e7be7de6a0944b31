"""What the tests of risk share: how to ask it, and how to tell it of payments."""

import itertools

from tongbao.common.v1 import item_pb2, kinds_pb2, money_pb2
from tongbao.payment.v1 import payment_pb2
from tongbao.risk.v1 import risk_ops_service_pb2 as ops
from tongbao.risk.v1 import risk_service_pb2 as pb
from tongbao.risk.v1.risk_ops_service_pb2_grpc import RiskOpsServiceStub
from tongbao.risk.v1.risk_service_pb2_grpc import RiskServiceStub

APP = "mall"
TRACE = "MALL-1"
PASS, BLOCK = pb.DECISION_PASS, pb.DECISION_BLOCK
_SERIAL = itertools.count(1)


def new_number():
    return f"20261122PY{next(_SERIAL):016d}"


def payment(minor_units=60, *, user_no="u1", payment_no="", app_id=APP, currency="CNY", **more):
    """One payment to evaluate."""
    return pb.EvaluateItem(
        context=item_pb2.ItemContext(app_id=app_id, trace_no=more.pop("trace_no", TRACE)),
        payment_no=payment_no or new_number(),
        tool=kinds_pb2.TOOL_BALANCE,
        amount=money_pb2.Money(currency_code=currency, minor_units=minor_units),
        user_no=user_no,
        **more,
    )


def ended(item):
    """The same payment as it stands in an event of the payment service."""
    return payment_pb2.Payment(
        payment_no=item.payment_no,
        app_id=item.context.app_id,
        trace_no=item.context.trace_no,
        amount=item.amount,
        user_no=item.user_no,
        version=3,
    )


async def evaluate(risk, *items):
    """The results of one batch."""
    stub = RiskServiceStub(risk.channel("payment"))
    response = await stub.BatchEvaluate(pb.BatchEvaluateRequest(items=items))
    return list(response.results)


async def decisions(risk, *items):
    """What one batch says: (decision, cause) of each item."""
    results = await evaluate(risk, *items)
    assert not any(result.HasField("status") for result in results), results
    return [(result.decision, result.cause) for result in results]


async def put_limit(risk, minor_units, *, app_id=APP, currency="CNY"):
    amount = money_pb2.Money(currency_code=currency, minor_units=minor_units)
    request = ops.PutLimitRequest(app_id=app_id, daily_amount=amount)
    await RiskOpsServiceStub(risk.operator()).PutLimit(request)


async def put_deny_entry(risk, user_no="u1", *, app_id=APP, lifted=False):
    request = ops.PutDenyEntryRequest(
        app_id=app_id, user_no=user_no, cause="stolen phone", lifted=lifted
    )
    await RiskOpsServiceStub(risk.operator()).PutDenyEntry(request)


def used(risk, user_no="u1"):
    """What is taken from the limits of a user, oldest date first."""
    sql = "SELECT used_minor FROM limit_use WHERE user_no = %(user_no)s ORDER BY business_date"
    return [minor for (minor,) in risk.rows(sql, user_no=user_no)]


def state_of(risk, item):
    sql = "SELECT state FROM decision WHERE payment_no = %(payment_no)s"
    [(state,)] = risk.rows(sql, payment_no=item.payment_no)
    return state
