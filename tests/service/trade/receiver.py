"""A web server of an app: keeps what comes, answers as it is told, verifies by its own recipe."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections import deque
from dataclasses import dataclass
from typing import Any, Self

from aiohttp import web

from tests.simulator import free_port


@dataclass
class Delivery:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def content(self) -> dict[str, Any]:
        return json.loads(self.body)

    def is_signed(self, secret: str) -> bool:
        """The recipe of Standard Webhooks, written from its page and not from our code."""
        key = base64.b64decode(secret[len("whsec_") :], validate=True)
        message = b".".join(
            (self.id.encode(), self.headers["webhook-timestamp"].encode(), self.body)
        )
        digest = hmac.new(key, message, hashlib.sha256).digest()
        expected = b"v1," + base64.b64encode(digest)
        signatures = self.headers["webhook-signature"].split(" ")
        return any(hmac.compare_digest(expected, one.encode()) for one in signatures)


class Receiver:
    """Answers 200; `then(500, 302)` are the statuses of the next answers.

    `hold(one, other)` lets the next deliveries wait for their answers until their gates open.
    """

    def __init__(self) -> None:
        self.came: list[Delivery] = []
        self._script: deque[int] = deque()
        self._gates: deque[asyncio.Event] = deque()
        self._port = free_port()
        self._runner = web.ServerRunner(web.Server(self._answer), shutdown_timeout=1)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/webhooks"

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    def then(self, *statuses: int) -> None:
        """Answer the next deliveries so; afterwards 200 again."""
        self._script.extend(statuses)

    def hold(self, *gates: asyncio.Event) -> None:
        """Answer the next deliveries when their gates open."""
        self._gates.extend(gates)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.came.append(Delivery(request.path, headers, await request.read()))
        if self._gates:
            await self._gates.popleft().wait()
        status = self._script.popleft() if self._script else 200
        where = {"location": f"{self.url}/elsewhere"} if 300 <= status < 400 else {}
        return web.Response(status=status, headers=where)
