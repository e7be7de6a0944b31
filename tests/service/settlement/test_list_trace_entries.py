"""What a trace shows of settlement."""

from tongbao.common.v1 import item_pb2
from tongbao.settlement.v1 import settlement_service_pb2 as pb
from tongbao.settlement.v1.settlement_service_pb2_grpc import SettlementServiceStub


async def listed(settlement, *, app_id="mall", trace_no="MALL-1"):
    owner = item_pb2.ItemContext(app_id=app_id, trace_no=trace_no)
    stub = SettlementServiceStub(settlement.channel("trade"))
    return (await stub.ListTraceEntries(pb.ListTraceEntriesRequest(context=owner))).entries


async def test_a_trace_lists_its_items_oldest_first(ground, settlement, paid, refunded):
    """A payment and its refund; items of other traces and other apps are not there."""
    payment, refund = paid(), refunded()
    for event in (payment, paid(trace_no="MALL-2"), paid(app_id="kiosk"), refund):
        await settlement.applied(await ground.tell("payment", event))
    first, second = await listed(settlement)
    assert (first.number, second.number) == (payment.payment.payment_no, refund.refund.refund_no)
    assert (first.service, first.kind, first.state) == ("settlement", "clearing_item", "PENDING")
    assert first.amount == payment.payment.amount
    assert dict(second.facts) == {
        "clears": "refund",
        "merchant_id": "m1",
        "fee_minor": "15",
        "cost_minor": "0",
        "net_minor": "2485",
    }
    assert list(await listed(settlement, app_id="stranger")) == []
