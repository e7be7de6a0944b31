"""What a trace shows of risk."""

from tests.service.risk.asking import APP, TRACE, decisions, payment, put_limit
from tongbao.common.v1 import item_pb2
from tongbao.risk.v1 import risk_service_pb2 as pb
from tongbao.risk.v1.risk_service_pb2_grpc import RiskServiceStub


async def listed(risk, *, app_id=APP, trace_no=TRACE):
    owner = item_pb2.ItemContext(app_id=app_id, trace_no=trace_no)
    stub = RiskServiceStub(risk.channel("trade"))
    return (await stub.ListTraceEntries(pb.ListTraceEntriesRequest(context=owner))).entries


async def test_a_trace_lists_its_decisions_oldest_first(risk):
    """With cause and state; decisions of other traces are not there."""
    await put_limit(risk, 100)
    items = [payment(60), payment(60), payment(1, trace_no="MALL-2")]
    for item in items:
        await decisions(risk, item)
    first, second = await listed(risk)
    assert [first.number, second.number] == [item.payment_no for item in items[:2]]
    assert (first.service, first.kind) == ("risk", "decision")
    assert (first.state, second.state) == ("RESERVED", "NONE")
    assert first.amount == items[0].amount
    today = risk.runtime.clock.local().date().isoformat()
    assert dict(first.facts) == {"decision": "PASS", "business_date": today}
    assert second.facts["cause"] == "LIMIT_EXCEEDED"
    assert first.create_time.ToDatetime() <= second.create_time.ToDatetime()


async def test_another_app_sees_nothing(risk):
    """A trace number is no secret; what it stands for is."""
    await decisions(risk, payment())
    assert list(await listed(risk, app_id="kiosk")) == []
    assert list(await listed(risk, trace_no="MALL-9")) == []
