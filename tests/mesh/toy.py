"""A service whose flows are the test's own, behind real contracts and the real runtime.

In the test's process: `async with playing(ground, database, script) as toy`. As a process of
its own: `ground.spawn("channel", module="tests.mesh.toy", database_dsn=…)`; there an item
whose subject is `hang` is never answered, and every other at once. `SOURCE` has an outbox and
nothing else; as a process it is `payment` of the same module.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mesh.config import load
from mesh.due import Due
from mesh.items import answered
from mesh.limits import Limits
from mesh.serve import Door, Service, running
from tongbao.channel.v1 import attempt_pb2
from tongbao.channel.v1 import channel_ops_service_pb2 as ops
from tongbao.channel.v1 import channel_service_pb2 as pb
from tongbao.channel.v1.channel_ops_service_pb2_grpc import (
    ChannelOpsServiceServicer,
    add_ChannelOpsServiceServicer_to_server,
)
from tongbao.channel.v1.channel_service_pb2_grpc import (
    ChannelServiceServicer,
    add_ChannelServiceServicer_to_server,
)
from tongbao.common.v1 import item_pb2, kinds_pb2, money_pb2
from tongbao.trade.v1 import trade_service_pb2 as trade
from tongbao.trade.v1.trade_service_pb2_grpc import (
    TradeServiceServicer,
    add_TradeServiceServicer_to_server,
)

SCHEMA = Path(__file__).with_name("schema")
SUBMITS = "/tongbao.channel.v1.ChannelService/StreamSubmits"


async def _listed(_: Any) -> pb.ListTraceEntriesResponse:
    return pb.ListTraceEntriesResponse()


async def _put(_: Any) -> ops.PutChannelAccountResponse:
    return ops.PutChannelAccountResponse(version=1)


async def _got(_: Any) -> trade.GetTradeResponse:
    return trade.GetTradeResponse()


async def _paid(_: Any) -> trade.PayTradeResponse:
    return trade.PayTradeResponse()


async def _watched(_: Any) -> AsyncIterator[Any]:
    yield trade.WatchTradeResponse()


async def _submitted(item: pb.SubmitItem) -> pb.SubmitResult:
    if item.subject == "hang":
        await asyncio.Event().wait()
    return pb.SubmitResult(attempt=attempt_pb2.Attempt(leg_no=item.leg_no))


@dataclass
class Script:
    """What the flows do."""

    entries: Callable[[Any], Awaitable[Any]] = _listed
    put: Callable[[Any], Awaitable[Any]] = _put
    get: Callable[[Any], Awaitable[Any]] = _got
    pay: Callable[[Any], Awaitable[Any]] = _paid
    watch: Callable[[Any], AsyncIterator[Any]] = _watched
    submit: Callable[[Any], Awaitable[Any]] = _submitted
    tasks: list[Callable[[Any], Awaitable[None]]] = field(default_factory=list)
    due: list[Due[Any]] = field(default_factory=list)
    keys: dict[str, list[Any]] = field(default_factory=dict)
    limits: dict[str, Limits] = field(default_factory=dict)
    crew: Any = None


def toy(script: Script) -> Service[Script]:
    """The service that does what `script` says."""

    @asynccontextmanager
    async def opened(runtime):
        script.crew = runtime.crew
        yield script

    async def keys_of(app_id):
        return script.keys.get(app_id, [])

    async def limits_of(app_id):
        return script.limits.get(app_id)

    return Service(
        name="channel",
        opens=opened,
        doors=[
            Door(
                descriptor=pb.DESCRIPTOR.services_by_name["ChannelService"],
                add=add_ChannelServiceServicer_to_server,
                servicer=_Channel,
            ),
            Door(
                descriptor=ops.DESCRIPTOR.services_by_name["ChannelOpsService"],
                add=add_ChannelOpsServiceServicer_to_server,
                servicer=_Ops,
                public=True,
            ),
            Door(
                descriptor=trade.DESCRIPTOR.services_by_name["TradeService"],
                add=add_TradeServiceServicer_to_server,
                servicer=_Trade,
                public=True,
            ),
        ],
        due=script.due,
        tasks=script.tasks,
        apps=lambda _: keys_of,
        limits=lambda _: limits_of,
    )


@asynccontextmanager
async def playing(ground, database, script: Script, **settings: Any):
    """The toy in this process, on a schema that holds only what every schema has."""
    if "database_dsn" not in settings:
        settings["database_dsn"] = database("channel", folder=SCHEMA)
    async with ground.run(toy(script), **settings) as handle:
        yield handle


@asynccontextmanager
async def _nothing(_: Any):
    yield None


SOURCE: Service[None] = Service(name="payment", opens=_nothing, doors=[])
"""A service that only publishes what is in its outbox."""


class _Channel(ChannelServiceServicer):
    def __init__(self, script: Script) -> None:
        self._script = script

    async def ListTraceEntries(self, request, context):  # noqa: N802
        return await self._script.entries(request)

    async def StreamSubmits(self, requests, context):  # noqa: N802
        async for pack in answered(
            requests,
            self._script.submit,
            pack=pb.StreamSubmitsResponse,
            result=pb.SubmitResult,
            crew=self._script.crew,
        ):
            yield pack


class _Ops(ChannelOpsServiceServicer):
    def __init__(self, script: Script) -> None:
        self._script = script

    async def PutChannelAccount(self, request, context):  # noqa: N802
        return await self._script.put(request)


class _Trade(TradeServiceServicer):
    def __init__(self, script: Script) -> None:
        self._script = script

    async def GetTrade(self, request, context):  # noqa: N802
        return await self._script.get(request)

    async def PayTrade(self, request, context):  # noqa: N802
        return await self._script.pay(request)

    async def BatchPayTrades(self, request, context):  # noqa: N802
        for item in request.items:
            await self._script.pay(item)
        return trade.BatchPayTradesResponse(results=[trade.PayTradeResult() for _ in request.items])

    async def WatchTrade(self, request, context):  # noqa: N802
        async for answer in self._script.watch(request):
            yield answer


def trace_request(app_id="mall", trace_no="MALL-1"):
    """A valid call of an internal method."""
    owner = item_pb2.ItemContext(app_id=app_id, trace_no=trace_no)
    return pb.ListTraceEntriesRequest(context=owner)


def account_request(**changes):
    """A valid call of an operator's method."""
    request = ops.PutChannelAccountRequest(
        channel_code="sim-a",
        adapter="sim",
        base_url="http://127.0.0.1:9001",
        provider_account="tongbao",
        secret="0123456789abcdef",
        tools=[kinds_pb2.TOOL_QR_PAYER],
        currency_codes=["CNY"],
    )
    request.MergeFrom(ops.PutChannelAccountRequest(**changes))
    return request


def submit_item(place, *, subject="", **changes):
    """A valid item of a stream; `place` makes its leg."""
    return pb.SubmitItem(
        **{
            "context": item_pb2.ItemContext(app_id="mall", trace_no="MALL-1"),
            "leg_no": f"20261122PY{place:016d}-1",
            "operation": attempt_pb2.OPERATION_PAY,
            "tool": kinds_pb2.TOOL_QR_PAYER,
            "amount": money_pb2.Money(currency_code="CNY", minor_units=100),
            "business_code": "MALL",
            "subject": subject,
        }
        | changes
    )


async def _main() -> None:
    services = {service.name: service for service in (toy(Script()), SOURCE)}
    async with running(services[sys.argv[1]], load(sys.argv[1])):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main())
