"""Where the webhooks of a bench go: it only notes which order was paid."""

from __future__ import annotations

import asyncio
import json
from types import TracebackType
from typing import Self

from aiohttp import web


class Inbox:
    """A receiver on loopback that tells who waits for an order."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._orders: dict[str, asyncio.Event] = {}
        server = web.Server(self._answer, access_log=None)
        self._runner = web.ServerRunner(server, shutdown_timeout=1)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._port}/"

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True, backlog=1024)
        await site.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._runner.cleanup()

    async def paid(self, order_no: str) -> None:
        """Return when the app was told that the order is paid."""
        await self._orders.setdefault(order_no, asyncio.Event()).wait()
        del self._orders[order_no]

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        told = json.loads(await request.read())
        if told["type"] == "trade.paid":
            self._orders.setdefault(told["data"]["orderNo"], asyncio.Event()).set()
        return web.Response()
