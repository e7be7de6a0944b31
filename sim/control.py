"""The control port: outages, scripted faults, and the truth. Loopback, bearer secret."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
from aiohttp import web

from sim.app import DRAIN_SECONDS, HOST, Acquirer
from sim.book import Book
from sim.faults import OPS, Fault, Op, Rule, Rules
from sim.journal import Journal
from sim.signing import to_bytes

_ROWS_PER_WRITE = 1000


class Control:
    """Answers whoever runs the experiment. Nothing here is part of the provider's API."""

    def __init__(
        self,
        *,
        port: int,
        key: bytes,
        acquirers: Mapping[str, Acquirer],
        rules: Rules,
        book: Book,
        journal: Journal,
    ) -> None:
        self._port, self._bearer = port, b"Bearer " + key
        self._acquirers, self._rules = acquirers, rules
        self._book, self._journal = book, journal
        self._routes: dict[tuple[str, str], Callable[[Any], Awaitable[None]]] = {
            ("POST", "/_ctl/outage"): self._outage,
            ("POST", "/_ctl/hang"): self._hang,
            ("POST", "/_ctl/rules"): self._rule,
        }
        server = web.Server(self._answer, access_log=None)
        self._runner = web.ServerRunner(server, shutdown_timeout=DRAIN_SECONDS)

    async def start(self) -> None:
        """Begin to listen. Raises OSError when the port is taken."""
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, self._port, reuse_address=True).start()

    async def stop(self) -> None:
        """Finish what is being answered and close."""
        await self._runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        bearer = to_bytes(request.headers.get("Authorization", ""))
        if not hmac.compare_digest(bearer, self._bearer):
            return _text(401, "not the control secret")
        asked = (request.method, request.path)
        if asked == ("GET", "/_ctl/truth"):
            return await self._truth(request)
        if asked not in self._routes:
            return _text(404, "no such verb")
        try:
            await self._routes[asked](orjson.loads(await request.read()))
        except (KeyError, TypeError, ValueError) as error:
            return _text(400, f"not understood: {error!r}")
        return _text(200, "ok")

    async def _outage(self, said: Any) -> None:
        acquirer = self._acquirers[said["acquirer"]]
        await (acquirer.shut() if _flag(said["on"]) else acquirer.reopen())

    async def _hang(self, said: Any) -> None:
        self._acquirers[said["acquirer"]].is_hanging = _flag(said["on"])

    async def _rule(self, said: Any) -> None:
        match, then = said["match"], said["then"]
        unknown = (said.keys() - {"match", "then"}) | (then.keys() - {"fault", "times"})
        if unknown:
            raise ValueError(f"unknown: {sorted(unknown)}")
        rule = Rule(
            **match | {"op": Op(match["op"])}, fault=Fault(then["fault"]), times=then["times"]
        )
        if rule.acquirer not in self._acquirers:
            raise ValueError(f"no acquirer {rule.acquirer}")
        if rule.op not in OPS[rule.fault]:
            raise ValueError(f"{rule.fault} cannot befall {rule.op}")
        if type(rule.times) is not int or rule.times < 1:
            raise ValueError("times must be a positive number")
        self._rules.add(rule)

    async def _truth(self, request: web.BaseRequest) -> web.StreamResponse:
        """Stream every order that survives a crash, one JSON line each."""
        rows = self._book.truth()
        lines = [orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows]
        await self._journal.settled()
        reply = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await reply.prepare(request)
        for start in range(0, len(lines), _ROWS_PER_WRITE):
            await reply.write(b"".join(lines[start : start + _ROWS_PER_WRITE]))
            await asyncio.sleep(0)
        await reply.write_eof()
        return reply


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError("on must be true or false")
    return value


def _text(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=text + "\n")
