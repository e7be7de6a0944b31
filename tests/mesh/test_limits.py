"""How much an app may ask, and what a process does when all ask for too much."""

import asyncio

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from mesh.limits import Limits
from mesh.tokens import public_key
from tests.mesh.toy import Script, playing
from tests.services import info_of
from tests.waiting import eventually
from tongbao.common.v1 import kinds_pb2
from tongbao.trade.v1 import trade_service_pb2 as pb
from tongbao.trade.v1.trade_service_pb2_grpc import TradeServiceStub

WIDE = Limits(per_second=1_000, burst=1_000, in_flight=1_000, streams=1_000)
GET = pb.GetTradeRequest(order_no="1")
PAY = pb.PayTradeRequest(
    request_id="r1", trade_no="20261122TR0000000000000000", tool=kinds_pb2.TOOL_QR_PAYER
)


@pytest.fixture
def script():
    return Script()


@pytest.fixture
async def toy(ground, database, script):
    """With room for four items at once."""
    async with playing(ground, database, script, room_least=4, room_most=4) as handle:
        yield handle


@pytest.fixture
def stub_of(ground, toy, script):
    """Return the stub of an app with these limits."""

    def make(app_id, **limits):
        app = ground.app(app_id)
        script.keys[app_id] = [public_key(app.pem)]
        usual = {name: getattr(WIDE, name) for name in Limits.__slots__}
        script.limits[app_id] = Limits(**(usual | limits))
        return TradeServiceStub(toy.app(app))

    return make


class Blocked:
    """A flow that waits until the test lets it go."""

    def __init__(self):
        self.inside, self.go_on = 0, asyncio.Event()

    async def pay(self, _):
        self.inside += 1
        await self.go_on.wait()
        return pb.PayTradeResponse()

    async def entered(self, count):
        await eventually(lambda: self.inside == count)


@pytest.fixture
def blocked(script):
    flow = Blocked()
    script.pay = flow.pay
    yield flow
    flow.go_on.set()  # Or a test that failed would wait for what it holds up.


async def refusal(call):
    """The reason, the facts and the wait in milliseconds of a call that must be refused."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    error = caught.value
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    info, wait = info_of(error), error_details_pb2.RetryInfo()
    assert any(one.Unpack(wait) for one in rpc_status.from_call(error).details)
    assert wait.retry_delay.ToMilliseconds() == int(info.metadata["retry_after_ms"]) > 0
    return info.reason, info.metadata["limit"]


async def test_more_than_its_rate_is_refused_with_the_limit_and_when_to_come_back(stub_of):
    """A bucket of three; another app has its own."""
    mall = stub_of("mall", per_second=1, burst=3)
    kiosk = stub_of("kiosk")
    for _ in range(3):
        await mall.GetTrade(GET)
    assert await refusal(mall.GetTrade(GET)) == ("RATE_LIMITED", "1")
    await kiosk.GetTrade(GET)


async def test_what_is_refused_did_nothing_and_was_not_even_read(stub_of, script):
    """The limit comes before the fields; the flow never runs."""
    ran = []

    async def get(request):
        ran.append(request)
        return pb.GetTradeResponse()

    script.get = get
    mall = stub_of("mall", per_second=1, burst=1)
    await mall.GetTrade(GET)
    assert await refusal(mall.GetTrade(pb.GetTradeRequest())) == ("RATE_LIMITED", "1")
    assert len(ran) == 1


async def test_a_batch_counts_its_items(stub_of):
    """Two of three are left, so two pass and two more do not."""
    mall = stub_of("mall", per_second=1, burst=3)
    await mall.GetTrade(GET)
    await mall.BatchPayTrades(pb.BatchPayTradesRequest(items=[PAY] * 2))
    two = mall.BatchPayTrades(pb.BatchPayTradesRequest(items=[PAY] * 2))
    assert await refusal(two) == ("RATE_LIMITED", "1")


async def test_too_much_at_once_is_refused_until_something_has_ended(stub_of, blocked):
    """Counted to the end of the work, not of the waiting."""
    mall = stub_of("mall", in_flight=2)
    calls = [asyncio.ensure_future(mall.PayTrade(PAY)) for _ in range(2)]
    await blocked.entered(2)
    assert await refusal(mall.GetTrade(GET)) == ("TOO_MANY_IN_FLIGHT", "2")
    calls[0].cancel()  # Its caller has gone; the work goes on.
    await asyncio.wait(calls[:1])
    assert await refusal(mall.GetTrade(GET)) == ("TOO_MANY_IN_FLIGHT", "2")
    blocked.go_on.set()
    await calls[1]
    await eventually(lambda: passes(mall.GetTrade(GET)))


async def passes(call):
    try:
        await call
    except grpc.aio.AioRpcError:
        return False
    return True


async def test_streams_are_counted_while_they_are_open(stub_of, script):
    """One may be open; when it has ended, another."""
    going = asyncio.Event()

    async def watch(_):
        yield pb.WatchTradeResponse()
        await going.wait()

    script.watch = watch
    mall = stub_of("mall", streams=1)
    request = pb.WatchTradeRequest(order_no="1")
    first = mall.WatchTrade(request)
    await first.read()
    assert await refusal(mall.WatchTrade(request).read()) == ("TOO_MANY_IN_FLIGHT", "1")
    await mall.GetTrade(GET)  # An open stream is no work.
    going.set()
    assert await first.read() is grpc.aio.EOF
    await eventually(lambda: passes(mall.WatchTrade(request).read()))


async def test_a_full_house_refuses_new_work_at_once_and_finishes_what_it_took(stub_of, blocked):
    """Four are in; the fifth is refused for certain. A query, an operator's call and health
    pass; every one of the four ends well; then there is room again."""
    mall = stub_of("mall")
    calls = [asyncio.ensure_future(mall.PayTrade(PAY)) for _ in range(4)]
    await blocked.entered(4)
    assert await refusal(mall.PayTrade(PAY)) == ("OVERLOADED", "4")
    assert await refusal(mall.BatchPayTrades(pb.BatchPayTradesRequest(items=[PAY] * 2))) == (
        "OVERLOADED",
        "4",
    )
    await mall.GetTrade(GET)
    assert blocked.inside == 4
    blocked.go_on.set()
    assert await asyncio.gather(*calls) == [pb.PayTradeResponse()] * 4
    await mall.PayTrade(PAY)


async def test_a_full_house_is_alive(toy, stub_of, blocked):
    """Who looks after it must not think that it is dead."""
    mall = stub_of("mall")
    calls = [asyncio.ensure_future(mall.PayTrade(PAY)) for _ in range(4)]
    await blocked.entered(4)
    health = health_pb2_grpc.HealthStub(toy.public())
    answer = await health.Check(health_pb2.HealthCheckRequest(), timeout=20)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    blocked.go_on.set()
    await asyncio.gather(*calls)


async def test_one_app_cannot_keep_another_out(stub_of, blocked):
    """The room is full of the first one's calls: a call of the second gets in all the same."""
    mall, kiosk = stub_of("mall"), stub_of("kiosk")
    calls = [asyncio.ensure_future(mall.PayTrade(PAY)) for _ in range(4)]
    await blocked.entered(4)
    calls.append(asyncio.ensure_future(kiosk.PayTrade(PAY)))
    await blocked.entered(5)
    assert await refusal(mall.PayTrade(PAY)) == ("OVERLOADED", "4")
    blocked.go_on.set()
    await asyncio.gather(*calls)


async def test_a_stream_ends_when_the_service_drains(ground, database, script):
    """With a reason that says: open it again."""

    async def watch(_):
        yield pb.WatchTradeResponse()
        await asyncio.Event().wait()

    script.watch = watch
    app = ground.app("mall")
    script.keys["mall"] = [public_key(app.pem)]
    async with playing(ground, database, script) as toy:
        stream = TradeServiceStub(toy.app(app)).WatchTrade(pb.WatchTradeRequest(order_no="1"))
        await stream.read()
        script.crew.drain()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stream.read()
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert info_of(caught.value).reason == "STREAM_ENDED"
