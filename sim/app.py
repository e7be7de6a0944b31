"""One acquirer: its signed door, what it does at a request, and its listening socket."""

from __future__ import annotations

import asyncio
import socket
import struct

import orjson
from aiohttp import web

from sim import signing
from sim.clock import now_seconds
from sim.desk import Desk
from sim.faults import BEFORE, Fault
from sim.journal import Journal
from sim.requests import Answer, Refusal, describe, read_request

HOST = "127.0.0.1"
DRAIN_SECONDS = 3

_BACKLOG = 1024
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: on, for no time.


class Acquirer:
    """A payment company that answers on one port. Its account bears its own name."""

    def __init__(self, name: str, *, port: int, key: bytes, desk: Desk, journal: Journal) -> None:
        self.name, self.port = name, port
        self.is_hanging = False
        self._key, self._desk, self._journal = key, desk, journal
        self._leaving = asyncio.Event()
        # A handler whose client has left is cancelled, which ends a hang.
        server = web.Server(self._answer, handler_cancellation=True, access_log=None)
        self._runner = web.ServerRunner(server, shutdown_timeout=DRAIN_SECONDS)
        self._site: web.TCPSite | None = None

    async def start(self) -> None:
        """Begin to listen. Raises OSError when the port is taken."""
        await self._runner.setup()
        await self.reopen()

    async def reopen(self) -> None:
        """Listen again on the same port; nothing happens if it listens."""
        if self._site is None:
            site = web.TCPSite(self._runner, HOST, self.port, reuse_address=True, backlog=_BACKLOG)
            await site.start()
            self._site = site

    async def shut(self) -> None:
        """Go dark: connects are refused and open connections cut, whatever they wait for."""
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

    async def stop(self) -> None:
        """Answer what has come in, cut what hangs, and close."""
        self._leaving.set()
        await self._runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        signed = signing.is_signed(
            self._key,
            account=self.name,
            method=request.method,
            path=request.raw_path,
            headers=request.headers,
            body=body,
            now=now_seconds(),
        )
        if not signed:
            # Not signed by us either: else anybody could have an error signed under the
            # nonce of a request that was processed, and pass it off as its reply.
            return _json(401, b'{"code":"BAD_SIGNATURE"}')
        if self.is_hanging:
            await self._hang(request)
        fault = Fault.NONE
        try:
            asked = read_request(request.method, request.raw_path, body, acquirer=self.name)
            fault = self._desk.fault_of(asked)
            if fault in BEFORE:
                await self._fail_before(request, fault)
            answer = describe(self._desk.serve(asked, fault=fault))
        except Refusal as refusal:
            answer = refusal.answer
        await self._journal.settled()  # Whatever the answer tells of, refusals included.
        if fault is Fault.PROCESSED_HANG:
            await self._hang(request)
        return self._signed(request, answer, spoilt=fault is Fault.BAD_SIGNATURE)

    async def _fail_before(self, request: web.BaseRequest, fault: Fault) -> None:
        if fault is Fault.SYSTEM_ERROR:
            raise Refusal(500, "SYSTEM_ERROR")
        if fault is Fault.HANG:
            await self._hang(request)
        await _reset(request)

    async def _hang(self, request: web.BaseRequest) -> None:
        """Say nothing until the client leaves, which cancels us, or we do."""
        await self._leaving.wait()
        await _reset(request)

    def _signed(self, request: web.BaseRequest, answer: Answer, *, spoilt: bool) -> web.Response:
        body = orjson.dumps(answer.content)
        timestamp, nonce = str(now_seconds()), request.headers[signing.NONCE]
        signature = signing.sign_reply(
            self._key[::-1] if spoilt else self._key,
            status=answer.status,
            timestamp=timestamp,
            nonce=nonce,
            body=body,
        )
        reply = _json(answer.status, body)
        reply.headers[signing.TIMESTAMP] = timestamp
        reply.headers[signing.NONCE] = nonce
        reply.headers[signing.SIGNATURE] = signature
        return reply


def _json(status: int, body: bytes) -> web.Response:
    return web.Response(status=status, body=body, content_type="application/json")


async def _reset(request: web.BaseRequest) -> None:
    """Reset the connection and never return: the loss of it cancels us."""
    transport = request.transport
    if transport is not None:
        socket_ = transport.get_extra_info("socket")
        socket_.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        transport.abort()
    await asyncio.Event().wait()
