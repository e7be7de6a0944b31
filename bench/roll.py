"""Replace every service under load, and count the calls that fail: there should be none.

The callers are ordinary: generated stubs on channels in their default configuration, no retry
policy, no repeats of their own. A call fails when it ends in anything but its answer; a
payment by QR code also when its webhook does not come.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import grpc

from bench.drained import check_books, drain, problems
from bench.inbox import Inbox
from bench.load import CALL_S, Sender, Shape
from bench.play import admin_of
from bench.world import BenchWorld, make_bench_world
from demo.stage import Stage, open_stage
from mesh.config import Settings
from mesh.embedded.places import Ports, make_home
from mesh.supervisor.control import ask
from tongbao.trade.v1 import trade_service_pb2 as pb
from tongbao.trade.v1.trade_service_pb2_grpc import TradeServiceStub

PACK = 8
STREAM_ITEMS = 200  # Then a new stream: a token does not last for ever.
STRANGE = "/callbacks/nobody"  # Answered 404: what is asked here is that it is answered.
# Without this all channels of a process share one connection.
_OWN_CONNECTION = (("grpc.use_local_subchannel_pool", 1),)

Say = Callable[[str], None]
Call = Callable[[], Awaitable[tuple[str, ...]]]


@dataclass(slots=True)
class Load:
    """What goes on while services are replaced: calls by kind, and what failed."""

    calls: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def keep_up(self, kind: str, call: Call) -> None:
        """Call again and again until it is over; a call that began is waited for."""
        while not self.over.is_set():
            wrong = await call()
            self.calls[kind] += 1
            self.failed.update(f"{kind}: {one}" for one in wrong)


async def play_roll(
    stage: Stage, world: BenchWorld, inbox: Inbox, *, calls: int, in_flight: int, say: Say
) -> dict[str, Any]:
    """Return what happened to at least `calls` calls while every service was replaced."""
    load, prefix = Load(), f"b{uuid.uuid4().hex[:8]}"
    async with AsyncExitStack() as stack:
        works = [
            asyncio.create_task(load.keep_up(kind, call))
            async for kind, call in _callers(stage, world, inbox, prefix, in_flight, stack)
        ]
        rolled = 0
        while not rolled or load.calls.total() < calls:
            async for told in ask(stage.settings.socket_dir, {"verb": "roll", "names": []}):
                if told.get("event") == "rolled":
                    rolled += 1
                    say(f"{told['name']} replaced in {told['seconds']} s, {_so_far(load)}")
        load.over.set()
        await asyncio.gather(*works)
    counts, _ = await drain(admin_of(stage), prefix=prefix)
    paid = sum(load.calls[kind] for kind in ("wallet", "qr", "stream"))
    paid += PACK * load.calls["batch"]
    wrong = problems(counts, told=paid, in_doubt=0) + await check_books(stage)
    return {
        "replaced": rolled,
        "calls": load.calls.total(),
        "by_kind": dict(load.calls),
        "failed": load.failed.total(),
        "errors": dict(load.failed),
        "counted": counts,
        "problems": wrong,
    }


@asynccontextmanager
async def roll_world(
    settings: Settings, say: Say
) -> AsyncIterator[tuple[Stage, BenchWorld, Inbox]]:
    """Yield a new installation with apps, merchants and wallets. Raises StartError."""
    make_home(settings.home)
    async with AsyncExitStack() as stack:
        inbox = await stack.enter_async_context(Inbox(Ports(settings.home).port("webhooks")))
        stage = await stack.enter_async_context(open_stage(settings, lambda _: None))
        say("making apps, merchants and wallets")
        world = await make_bench_world(stage, webhook_url=inbox.url, what="pay-wallet")
        yield stage, world, inbox


async def _callers(
    stage: Stage,
    world: BenchWorld,
    inbox: Inbox,
    prefix: str,
    in_flight: int,
    stack: AsyncExitStack,
) -> AsyncIterator[tuple[str, Call]]:
    """Yield so many callers of each kind: kind, and what makes one call of it."""
    for place in range(in_flight):
        stub = TradeServiceStub(await stack.enter_async_context(_channel(stage, place)))
        mine = BenchWorld(trade=stub, apps=world.apps, users=world.users)
        for kind, what, form in (
            ("wallet", "pay-wallet", "unary"),
            ("qr", "collect", "unary"),
            ("batch", "pay-wallet", "batch"),
        ):
            shape = _shape(what, form)
            sender = Sender(mine, shape, prefix=f"{prefix}-{kind}{place}", inbox=inbox)
            yield kind, _erring(sender)
        shape = _shape("pay-wallet", "unary")
        streaming = Sender(mine, shape, prefix=f"{prefix}-stream{place}", inbox=inbox)
        yield "stream", Streamer(mine, streaming).call
        yield "read", _reading(mine)
        yield "callback", await _calling_back(stage, stack)


def _shape(what: str, form: str) -> Shape:
    return Shape(what=what, form=form, in_flight=1, pack=PACK, seconds=0.0, warm_up=0.0)


def _channel(stage: Stage, place: int) -> grpc.aio.Channel:
    """Return a channel to trade: the first in its default configuration, letter for letter."""
    credentials = grpc.ssl_channel_credentials(stage.settings.tls_ca.read_bytes())
    address = f"{stage.settings.public_host}:{stage.state['ports']['trade']}"
    return grpc.aio.secure_channel(address, credentials, options=_OWN_CONNECTION if place else ())


def _erring(sender: Sender) -> Call:
    send = sender.send()

    async def call() -> tuple[str, ...]:
        return (await send()).errors

    return call


class Streamer:
    """Payments over one stream, one after the other, as the contract asks it of callers: after
    a pack without results the caller ends its side, and goes on with a new stream."""

    def __init__(self, world: BenchWorld, sender: Sender) -> None:
        self._world, self._sender = world, sender
        self._stream: Any = None
        self._left = 0

    async def call(self) -> tuple[str, ...]:
        """Make one payment; return what was wrong with it."""
        request = self._sender.request()
        try:
            if self._stream is None:
                app = self._world.app_of("pay-wallet")
                self._stream = self._world.trade.StreamPayTrades(metadata=app.metadata())
                self._left = STREAM_ITEMS
            item = pb.PayTradeItem(item_id=request.request_id, request=request)
            await self._stream.write(pb.StreamPayTradesRequest(items=[item]))
            self._left -= 1
            if not self._left:
                await self._stream.done_writing()
            return await self._answer(leaving=not self._left)
        except grpc.aio.AioRpcError as error:
            self._stream = None
            return (f"{error.code().name} {error.details()}",)

    async def _answer(self, *, leaving: bool) -> tuple[str, ...]:
        """Return what was wrong with the item that waits: its stream holds no other."""
        wrong: tuple[str, ...] = ("NO_ANSWER",)
        while (pack := await self._stream.read()) is not grpc.aio.EOF:
            if not pack.results and not leaving:
                leaving = True
                await self._stream.done_writing()
            for result in pack.results:
                status = result.status.reason if result.HasField("status") else ""
                wrong = (status,) if status else ()
                if not leaving:
                    return wrong
        self._stream = None
        return wrong


def _reading(world: BenchWorld) -> Call:
    app = world.app_of("pay-wallet")
    request = pb.GetWalletRequest(user_no=world.users[0], currency_code="CNY")

    async def call() -> tuple[str, ...]:
        try:
            await world.trade.GetWallet(request, timeout=CALL_S, metadata=app.metadata())
        except grpc.aio.AioRpcError as error:
            return (f"{error.code().name} {error.details()}",)
        return ()

    return call


async def _calling_back(stage: Stage, stack: AsyncExitStack) -> Call:
    """Return what calls the HTTP door, over a connection that is kept and over a new one."""
    url = stage.state["urls"]["http"] + STRANGE
    kept = await stack.enter_async_context(aiohttp.ClientSession())

    async def call() -> tuple[str, ...]:
        try:
            async with kept.post(url, data=b"{}") as answer:
                seen = {answer.status}
            async with aiohttp.ClientSession() as fresh, fresh.post(url, data=b"{}") as answer:
                seen.add(answer.status)
        except (aiohttp.ClientError, TimeoutError) as error:
            return (repr(error),)
        return () if seen == {404} else (f"HTTP {seen}",)

    return call


def _so_far(load: Load) -> str:
    return f"{load.calls.total()} calls, {load.failed.total()} failed"
