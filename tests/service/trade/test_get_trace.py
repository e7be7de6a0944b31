"""GetTrace: everything of an order, from all services, in time order, for its owner."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from tests.service.trade.neighbours import Payment
from tests.service.trade.neighbours import Refund as Told
from tests.service.trade.receiver import Receiver
from tests.service.trade.shop import Shop, World, reason, refused, together
from tests.services import info_of
from tests.waiting import eventually
from tongbao.common.v1 import trace_pb2
from tongbao.trade.v1 import trade_service_pb2 as pb
from tongbao.trade.v1.trade_service_pb2_grpc import TradeServiceStub


def stamp(moment: datetime) -> Timestamp:
    made = Timestamp()
    made.FromDatetime(moment)
    return made


def entry(service: str, kind: str, at: Timestamp) -> trace_pb2.TraceEntry:
    return trace_pb2.TraceEntry(service=service, kind=kind, number=f"{service}-1", create_time=at)


async def test_entries_of_all_services_come_in_time_order(fresh: World):
    """Of the same moment: trade, risk, payment, channel, ledger, settlement."""
    shop = await fresh.shop()
    trade = await shop.paid()
    around = fresh.neighbours
    later = stamp(trade.create_time.ToDatetime(tzinfo=UTC) + timedelta(seconds=1))
    before = stamp(trade.create_time.ToDatetime(tzinfo=UTC) - timedelta(seconds=1))
    for one in (around.settlement, around.ledger, around.channel, around.payment, around.risk):
        one.entries = [
            entry(one.name, "late", later),
            entry(one.name, "same", trade.create_time),
        ]
    around.ledger.entries.append(entry("ledger", "early", before))

    seen = [(one.service, one.kind) for one in await shop.trace(trade.trace_no)]
    order = ["risk", "payment", "channel", "ledger", "settlement"]
    assert seen == [
        ("ledger", "early"),
        ("trade", "trade"),
        *((name, "same") for name in order),
        *((name, "late") for name in order),
    ]
    for one in (around.settlement, around.ledger, around.channel, around.payment, around.risk):
        [asked] = one.traced
        assert (asked.app_id, asked.trace_no) == (shop.app.app_id, trade.trace_no)


async def test_its_own_entries_tell_the_whole_story(fresh: World, receiver: Receiver):
    """Trade, refunds, webhooks and every try to deliver, with states, amounts and due times."""
    receiver.then(500)
    shop = await fresh.shop(webhook_url=receiver.url)
    trade = await shop.paid(1000)
    [webhook_id] = [row[0] for row in fresh.trade.rows("SELECT webhook_id FROM webhook")]
    await eventually(lambda: fresh.trade.rows("SELECT 1 FROM webhook_attempt"))
    fresh.payment.then(fresh.payment.says(Told.STATE_PROCESSING))
    refund = (await shop.refund(trade, 300)).message.refund
    entries = {one.kind: one for one in await shop.trace(trade.trace_no)}
    assert set(entries) == {"trade", "refund", "webhook", "webhook_attempt"}

    own = entries["trade"]
    assert (own.service, own.number, own.state) == ("trade", trade.trade_no, "PAID")
    assert own.amount == trade.amount
    assert own.create_time == trade.create_time
    assert not own.HasField("due_time")
    facts = dict(own.facts)
    assert facts["payment_no"] == trade.payment_no
    assert (facts["payment_state"], facts["fee_minor"]) == ("SUCCEEDED", "6")
    assert (facts["refunded_minor"], facts["fee_refunded_minor"]) == ("300", "2")

    back = entries["refund"]
    assert (back.number, back.state, back.amount) == (
        refund.refund_no,
        "PROCESSING",
        refund.amount,
    )
    assert back.HasField("due_time")
    assert (back.facts["refund_of"], back.facts["fee_minor"]) == (trade.trade_no, "2")

    news = entries["webhook"]
    assert (news.number, news.state) == (webhook_id, "PENDING")
    assert news.facts["id"] == f"{trade.trade_no}:{trade.version}"
    assert (news.facts["type"], news.facts["tries"]) == ("trade.paid", "1")
    assert news.HasField("due_time")

    tried = entries["webhook_attempt"]
    assert tried.facts["webhook"] == webhook_id
    assert (tried.facts["status"], tried.facts["problem"]) == ("500", "it did not answer 2xx")


async def test_what_is_not_final_has_a_due_time(world: World, shop: Shop):
    """An open payment is looked at again; a trade that waits for its caller ends by expiry."""
    world.payment.then(world.payment.says(Payment.STATE_PROCESSING))
    open_trade = (await shop.pay()).message.trade
    created = await shop.create()
    [own] = [one for one in await shop.trace(open_trade.trace_no) if one.kind == "trade"]
    assert own.due_time.ToNanoseconds() < open_trade.expire_time.ToNanoseconds()
    [own] = [one for one in await shop.trace(created.trace_no) if one.kind == "trade"]
    assert (own.state, own.due_time) == ("CREATED", created.expire_time)


async def test_traces_of_others_do_not_exist_but_operators_see_them_all(world: World, shop: Shop):
    """TRACE_NOT_FOUND for another app, an unknown order and an unknown business code."""
    other = await world.shop()
    trade = await shop.paid()
    for caller, trace_no in (
        (other, trade.trace_no),
        (shop, f"{shop.code}-nothing"),
        (shop, "NOBODY-1"),
    ):
        assert await refused(caller.trace(trace_no)) == (
            "TRACE_NOT_FOUND",
            {"trace_no": trace_no},
        )
    operator = TradeServiceStub(world.trade.operator())
    request = pb.GetTraceRequest(trace_no=trade.trace_no)
    assert list((await operator.GetTrace(request)).entries) == await shop.trace(trade.trace_no)
    assert world.neighbours.ledger.traced[-2].app_id == shop.app.app_id
    missing = pb.GetTraceRequest(trace_no=f"{shop.code}-nothing")
    assert await reason(operator.GetTrace(missing)) == "TRACE_NOT_FOUND"


async def test_a_trace_with_a_gap_is_not_shown(fresh: World):
    """A neighbour that is away: the call may be sent again, and then has everything."""
    shop = await fresh.shop()
    trade = await shop.paid()
    await fresh.neighbours.stop("settlement")
    assert await reason(shop.trace(trade.trace_no)) == "NOT_EXECUTED"
    await fresh.neighbours.start("settlement")

    async def shown():
        [settled] = await together(shop.trace(trade.trace_no))
        return not isinstance(settled, grpc.aio.AioRpcError)

    await eventually(shown)


async def test_the_ledger_is_told_since_when_to_look(fresh: World):
    """Since the trade was made: it opens no files of days before."""
    shop = await fresh.shop()
    trade = await shop.paid()
    await shop.trace(trade.trace_no)
    assert fresh.neighbours.ledger.since == [trade.create_time]


async def test_a_file_of_the_past_that_is_away_is_told_as_the_ledger_tells_it(fresh: World):
    """Which one: to call again would not help."""
    shop = await fresh.shop()
    trade = await shop.paid()
    fresh.neighbours.ledger.misses = "book-1/2026-01-01/voucher.parquet"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await shop.trace(trade.trace_no)
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    told = info_of(caught.value)
    assert (told.domain, told.reason) == ("ledger.tongbao", "HISTORY_MISSING")
    assert dict(told.metadata) == {"file": "book-1/2026-01-01/voucher.parquet"}


async def test_a_trace_number_has_its_shape(shop: Shop):
    """The contract's rules are kept at the door."""
    assert await reason(shop.trace("no dash")) == "INVALID_FIELDS"
