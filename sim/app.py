"""One acquirer: its signed door, what it does at a request, and its listening socket."""

from __future__ import annotations

import asyncio

from aiohttp import web

from sim import signing
from sim.bills import Bills
from sim.clock import Clock, real_seconds
from sim.desk import Desk
from sim.faults import BEFORE, Fault
from sim.journal import Journal
from sim.messenger import Messenger
from sim.payer import Payers
from sim.replies import reply, reset
from sim.requests import Answer, Asked, Refusal, describe, read_request
from sim.weather import Mode, Outage, Weather, outage_edges

HOST = "127.0.0.1"
DRAIN_SECONDS = 3

_BACKLOG = 1024


class Acquirer:
    """A payment company that answers on one port. Its account bears its own name."""

    def __init__(
        self,
        name: str,
        *,
        port: int,
        key: bytes,
        desk: Desk,
        bills: Bills,
        payers: Payers,
        messenger: Messenger,
        journal: Journal,
        clock: Clock,
    ) -> None:
        self.name, self.port, self.weather = name, port, Weather()
        self._key, self._desk, self._bills = key, desk, bills
        self._payers, self._messenger = payers, messenger
        self._journal, self._clock = journal, clock
        self._leaving = asyncio.Event()
        self._turn = asyncio.Lock()
        # A handler whose client has left is cancelled, which ends a hang.
        server = web.Server(self._answer, handler_cancellation=True, access_log=None)
        self._runner = web.ServerRunner(server, shutdown_timeout=DRAIN_SECONDS)
        self._site: web.TCPSite | None = None
        self._turning: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Begin to listen. Raises OSError when the port is taken."""
        await self._runner.setup()
        await self.listen_or_not()

    async def stop(self) -> None:
        """Answer what has come in, cut what hangs, and close."""
        self._leaving.set()
        await self._runner.cleanup()

    async def plan(self, outage: Outage) -> None:
        """Have an outage from and to those moments."""
        self.weather.outages.append(outage)
        for edge in sorted(outage_edges([outage])):
            self._clock.at(edge, self._turn_soon)
        await self.listen_or_not()

    async def listen_or_not(self) -> None:
        """Listen, or go dark, as the weather says now. Twice is once."""
        async with self._turn:
            is_out = Mode.REFUSE in self.weather.modes(self._clock.now_ms())
            await (self._shut() if is_out else self._open())

    def _turn_soon(self) -> None:
        task = asyncio.get_running_loop().create_task(self.listen_or_not())
        self._turning.add(task)
        task.add_done_callback(self._turning.discard)

    async def _open(self) -> None:
        if self._site is None:
            site = web.TCPSite(self._runner, HOST, self.port, reuse_address=True, backlog=_BACKLOG)
            await site.start()
            self._site = site

    async def _shut(self) -> None:
        """Connects are refused and open connections cut, whatever they wait for."""
        if self._site is not None:
            site, self._site = self._site, None
            await site.stop()
            server = self._runner.server
            assert server is not None, "start made it"
            for connection in server.connections:
                if connection.transport is not None:
                    connection.transport.abort()
            # Whoever asked for the outage finds it complete. There is no event for that.
            while server.connections:  # noqa: ASYNC110
                await asyncio.sleep(0)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        if request.path.startswith(self._bills.files):
            return self._bills.download(request.method, request.path, request.query)
        signed = signing.is_signed(
            self._key,
            account=self.name,
            method=request.method,
            path=request.raw_path,
            headers=request.headers,
            body=body,
            now=real_seconds(),
        )
        if not signed:
            # Not signed by us either: else anybody could have an error signed under the
            # nonce of a request that was processed, and pass it off as its reply.
            body = b'{"code":"BAD_SIGNATURE"}'
            return web.Response(status=401, body=body, content_type="application/json")
        modes = self.weather.modes(self._clock.now_ms())
        if Mode.HANG in modes:
            await self._hang(request)
        try:
            if Mode.ERROR in modes:
                raise Refusal(500, "SYSTEM_ERROR")
            answer, fault = await self._serve(request, body)
        except Refusal as refusal:
            answer, fault = refusal.answer, Fault.NONE
        await self._journal.settled()  # Whatever the answer tells of, refusals included.
        if fault is Fault.PROCESSED_HANG:
            await self._hang(request)
        return await reply(request, answer, key=self._key, fault=fault)

    async def _serve(self, request: web.BaseRequest, body: bytes) -> tuple[Answer, Fault]:
        """Return the answer and how it is to be spoilt. Raises Refusal."""
        day = self._bills.day_in(request.method, request.raw_path)
        if day is not None:
            return self._bills.announce(day), Fault.NONE
        asked = read_request(request.method, request.raw_path, body, acquirer=self.name)
        verdict = self._desk.verdict_on(asked)
        latency_ms = self.weather.latency_ms(asked.op, asked.number)
        if latency_ms:
            await asyncio.sleep(latency_ms / 1000)
        if verdict.fault in BEFORE:
            await self._fail_before(request, verdict.fault)
        is_known = self._desk.knows(asked)
        try:
            order = self._desk.serve(asked, verdict=verdict)
        except Refusal as refusal:
            return refusal.answer, _of_reply(asked, verdict.fault)
        answer = describe(order)
        if verdict.fault is Fault.EARLY_CALLBACK and not is_known:
            self._messenger.hold(order)
            self._payers.pay_now(order)
            await self._messenger.tell_now(order)
        return answer, _of_reply(asked, verdict.fault)

    async def _fail_before(self, request: web.BaseRequest, fault: Fault) -> None:
        if fault is Fault.SYSTEM_ERROR:
            raise Refusal(500, "SYSTEM_ERROR")
        if fault is Fault.HANG:
            await self._hang(request)
        await reset(request)

    async def _hang(self, request: web.BaseRequest) -> None:
        """Say nothing until the client leaves, which cancels us, or we do."""
        await self._leaving.wait()
        await reset(request)


def _of_reply(asked: Asked, fault: Fault) -> Fault:
    """Return how the reply is spoilt. A question that is kept in the dark is answered."""
    return Fault.NONE if fault is Fault.HIDDEN and not asked.op.is_creating else fault
