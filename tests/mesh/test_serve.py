"""A service as a process: what it shows of itself, how it ends, what it survives."""

import asyncio
import signal
import urllib.request

import grpc
import pytest
from google.protobuf import descriptor_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from tests.mesh.toy import Script, playing
from tests.services import holding
from tests.simulator import free_port
from tests.waiting import eventually
from tongbao.common.v1 import item_pb2, kinds_pb2, money_pb2
from tongbao.risk.v1 import risk_service_pb2 as pb
from tongbao.risk.v1.risk_service_pb2_grpc import RiskServiceStub

INTERNAL = {
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "tongbao.channel.v1.ChannelOpsService",
    "tongbao.channel.v1.ChannelService",
    "tongbao.trade.v1.TradeService",
}
PUBLIC = INTERNAL - {"tongbao.channel.v1.ChannelService"}


async def reflected(channel, request, *, version):
    """The answer of server reflection to one request."""
    ask = channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    call = ask(iter([request]), timeout=5)
    return await call.read()


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_lists_the_services_of_each_door(ground, database, version):
    """Old and new clients see the same; the public port shows only what is public."""
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    async with playing(ground, database, Script()) as toy:
        for channel, services in ((toy.raw(), INTERNAL), (toy.public(), PUBLIC)):
            answer = await reflected(channel, request, version=version)
            assert {one.name for one in answer.list_services_response.service} == services


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_describes_what_it_lists(ground, database, version):
    """A client can build a request from it, and find the reflection service itself."""
    async with playing(ground, database, Script()) as toy:
        channel = toy.raw()
        for symbol in sorted(INTERNAL):
            request = reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol)
            answer = await reflected(channel, request, version=version)
            [packed, *_] = answer.file_descriptor_response.file_descriptor_proto
            file = descriptor_pb2.FileDescriptorProto.FromString(packed)
            assert symbol in {f"{file.package}.{service.name}" for service in file.service}


async def test_health_is_told_to_anybody(ground, database):
    """On both doors, without a token."""
    async with playing(ground, database, Script()) as toy:
        for channel in (toy.raw(), toy.public()):
            assert await health(channel) == health_pb2.HealthCheckResponse.SERVING


async def health(channel):
    stub = health_pb2_grpc.HealthStub(channel)
    return (await stub.Check(health_pb2.HealthCheckRequest(), timeout=5)).status


async def test_sigterm_drains_a_call_in_flight(ground):
    """It is answered well; new calls are refused at once; the process ends by itself."""
    async with ground.spawn("risk") as risk:
        risk.rows("INSERT INTO user_limit VALUES ('mall', 'CNY', 100)")
        stub = RiskServiceStub(risk.channel("payment"))
        await stub.BatchEvaluate(evaluation(1))
        async with holding(risk.dsn, "SELECT 1 FROM limit_use FOR UPDATE"):
            call = asyncio.ensure_future(stub.BatchEvaluate(evaluation(2)))
            await risk.blocked(1)
            risk.process.send(signal.SIGTERM)
            await eventually(lambda: _refuses(risk))
            assert not call.done()
        response = await call
        assert [result.decision for result in response.results] == [pb.DECISION_PASS]
        assert await risk.process.wait(within=10) == 0
        assert risk.rows("SELECT used_minor FROM limit_use") == [(20,)]


async def _refuses(handle):
    channel = handle.raw()
    try:
        await health(channel)
    except grpc.aio.AioRpcError as error:
        return error.code() is grpc.StatusCode.UNAVAILABLE
    finally:
        await channel.close()
    return False


def evaluation(place):
    item = pb.EvaluateItem(
        context=item_pb2.ItemContext(app_id="mall", trace_no="MALL-1"),
        payment_no=f"20261122PY{place:016d}",
        tool=kinds_pb2.TOOL_BALANCE,
        amount=money_pb2.Money(currency_code="CNY", minor_units=10),
        user_no="u1",
    )
    return pb.BatchEvaluateRequest(items=[item])


async def test_metrics_count_calls_by_method_and_status(ground):
    """For Prometheus, on a port of its own."""
    port = free_port()
    name = "tongbao.risk.v1.RiskService/BatchEvaluate"
    count = f'rpc_server_call_duration_seconds_count{{rpc_method="{name}",'
    async with ground.spawn("risk", metrics_port=port) as risk:
        await RiskServiceStub(risk.channel("payment")).BatchEvaluate(evaluation(1))
        with pytest.raises(grpc.aio.AioRpcError):
            await RiskServiceStub(risk.raw()).BatchEvaluate(evaluation(1), timeout=5)
        url = f"http://127.0.0.1:{port}/metrics"
        reply = await asyncio.to_thread(urllib.request.urlopen, url, timeout=5)
        with reply:
            lines = reply.read().decode().splitlines()
    for code in ("OK", "UNAUTHENTICATED"):
        assert f'{count}rpc_response_status_code="{code}"}} 1.0' in lines


async def test_what_runs_beside_the_doors_is_started_again_after_a_bug(ground, database):
    """A service that is half alive would be worse than one that fell."""
    runs = []

    async def task(_):
        runs.append(len(runs))
        if len(runs) == 1:
            raise ValueError("once")
        await asyncio.Event().wait()

    async with playing(ground, database, Script(tasks=[task])):
        await eventually(lambda: runs == [0, 1])


async def test_business_time_follows_the_row(ground, database):
    """Within a second or two, without a restart."""
    async with playing(ground, database, Script()) as toy:
        before = toy.runtime.clock.now()
        toy.rows("UPDATE clock SET shift = shift + interval '3 days'")
        await eventually(lambda: (toy.runtime.clock.now() - before).days == 3, within=10)


async def test_two_processes_of_a_service_make_different_numbers(ground, database):
    """Each leases a node of its own."""
    dsn = ground.dsn("risk")
    async with (
        ground.run("risk", database_dsn=dsn) as one,
        ground.run("risk", replica=1, database_dsn=dsn) as two,
    ):
        kind = "PY"
        numbers = {handle.runtime.numbers.next(kind)[16:19] for handle in (one, two)}
    assert len(numbers) == 2
