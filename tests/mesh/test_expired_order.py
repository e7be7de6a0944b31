"""Defect 1 of other systems: an expired order closed without asking the channel."""

import asyncio
from datetime import timedelta

from demo.collect import Collector
from mesh.cli.clock import _advance
from tests.mesh.platform import open_platform
from tests.waiting import eventually
from tongbao.common.v1 import kinds_pb2, money_pb2
from tongbao.trade.v1 import trade_pb2
from tongbao.trade.v1 import trade_service_pb2 as pb

State = trade_pb2.Trade.State
EXPIRED = timedelta(minutes=31)
# The simulator's payers, by the amount's last four digits.
NEVER_PAID, PAID_AFTER_CLOSE = 17_702, 17_703


async def test_an_expired_order_is_never_closed_without_asking_the_channel(fresh_home):
    """Two codes that nobody has scanned when their orders expire.

    Both are closed at the provider first. One provider keeps its word: CLOSED, and nothing
    moved. The other charges all the same: REVIEW with a case, the money in suspense, and no
    webhook says that it was paid.
    """
    async with open_platform(fresh_home) as platform:
        collector = Collector(platform.stage, platform.world)
        unpaid = await pay(platform, "unpaid", NEVER_PAID)
        late = await pay(platform, "late", PAID_AFTER_CLOSE)
        assert {unpaid.state, late.state} == {State.STATE_PAYING}

        await _advance(fresh_home, EXPIRED)

        async def ended():
            states = await asyncio.gather(state_of(platform, unpaid), state_of(platform, late))
            return states[0] == State.STATE_CLOSED and await cases(collector, late)

        await eventually(ended, within=60)
        await eventually(lambda: told(platform, unpaid) == ["trade.closed"], within=60)
        truth = {one.number: one.state for one in await platform.stage.simulator.truth()}
        [attempt] = await entries(collector, unpaid, "attempt")
        assert (attempt.state, truth[attempt.number]) == ("CLOSED", "CLOSED")

        assert "LATE_SUCCESS" in await cases(collector, late)
        [attempt] = await entries(collector, late, "attempt")
        assert (attempt.state, truth[attempt.number]) == ("REVIEW", "SUCCEEDED")

        async def suspended():
            booked = await entries(collector, late, "entry")
            return any(one.facts["credit"].startswith("suspense:") for one in booked)

        await eventually(suspended, within=60)
        assert "trade.paid" not in told(platform, late)


async def pay(platform, number, amount_minor):
    """A collection whose payer has a code to scan."""
    app = platform.world.apps["MALL"]
    new = pb.NewTrade(
        order_no=number,
        product_code=app.collect,
        merchant_id=app.merchants["tea"],
        amount=money_pb2.Money(currency_code="CNY", minor_units=amount_minor),
    )
    request = pb.PayTradeRequest(request_id=number, tool=kinds_pb2.TOOL_QR_PAYER, new_trade=new)
    caller = platform.world.caller("MALL")
    return (await caller.ask(platform.stage.doors.trade.PayTrade, request)).message.trade


async def state_of(platform, trade):
    caller = platform.world.caller("MALL")
    request = pb.GetTradeRequest(trade_no=trade.trade_no)
    return (await caller.ask(platform.stage.doors.trade.GetTrade, request)).message.trade.state


async def entries(collector, trade, kind):
    """What the trace has of one kind."""
    return [one for one in await collector.trace(trade.trace_no) if one.kind == kind]


async def cases(collector, trade):
    return [one.facts["kind"] for one in await entries(collector, trade, "case")]


def told(platform, trade):
    """The webhooks about a trade that its app has taken."""
    deliveries = platform.receiver.deliveries()
    return [one.event_type for one in deliveries if one.number == trade.trade_no]
