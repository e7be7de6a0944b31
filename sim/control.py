"""The control port: the clock, outages, scripted faults, and the truth. Loopback, bearer secret."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import orjson
from aiohttp import web

from sim.app import DRAIN_SECONDS, HOST, Acquirer
from sim.bills import BillIsOut, Bills
from sim.book import Book
from sim.clock import Clock, ClockError, to_ms, to_text
from sim.faults import Kind, Op
from sim.journal import Journal, Record
from sim.messenger import Messenger, Seal
from sim.rules import Rules
from sim.signing import to_bytes
from sim.weather import Latency, Mode, Outage

_ROWS_PER_WRITE = 1000
_SHIFT_SECONDS_MAX = 100 * 366 * 86_400


class Control:
    """Answers whoever runs the experiment. Nothing here is part of the provider's API."""

    def __init__(
        self,
        *,
        port: int,
        key: bytes,
        acquirers: Mapping[str, Acquirer],
        bills: Mapping[str, Bills],
        rules: Rules,
        book: Book,
        messenger: Messenger,
        journal: Journal,
        clock: Clock,
    ) -> None:
        self._port, self._bearer = port, b"Bearer " + key
        self._acquirers, self._bills, self._rules = acquirers, bills, rules
        self._book, self._messenger = book, messenger
        self._journal, self._clock = journal, clock
        self._acts: dict[str, Callable[[Any], Awaitable[None]]] = {
            "/_ctl/clock": self._move_clock,
            "/_ctl/outage": self._outage,
            "/_ctl/outages": self._plan_outage,
            "/_ctl/hang": self._hang,
            "/_ctl/latency": self._latency,
            "/_ctl/seed": self._seed,
            "/_ctl/rules": self._rule,
            "/_ctl/clear": self._clear,
            "/_ctl/replay": self._replay,
            "/_ctl/plant": self._plant,
        }
        self._tells: dict[str, Callable[[], Iterable[Record]]] = {
            "/_ctl/truth": self._book.truth,
            "/_ctl/planted": self._planted,
            "/_ctl/clock": self._time,
            "/_ctl/counts": lambda: [dict(self._messenger.counts)],
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
        if request.method == "GET" and request.path in self._tells:
            return await self._tell(request, self._tells[request.path]())
        if request.method != "POST" or request.path not in self._acts:
            return _text(404, "no such verb")
        try:
            await self._acts[request.path](orjson.loads(await request.read()))
        except BillIsOut as error:
            return _text(409, str(error))
        except (ClockError, KeyError, TypeError, ValueError) as error:
            return _text(400, f"not understood: {error!r}")
        await self._journal.settled()
        return _text(200, "ok")

    async def _move_clock(self, said: Any) -> None:
        """What becomes due by it has happened, on disk, when this is answered."""
        if type(said["shift_seconds"]) is not int or said["shift_seconds"] > _SHIFT_SECONDS_MAX:
            raise ValueError("shift_seconds must be a whole number, and not of ages")
        shift_ms = said["shift_seconds"] * 1000
        before = self._clock.shift_ms
        self._clock.shift(shift_ms)
        if shift_ms != before:
            self._journal.append({"shift_ms": shift_ms})
        for acquirer in self._acquirers.values():
            await acquirer.listen_or_not()

    async def _outage(self, said: Any) -> None:
        acquirer = self._acquirers[said["acquirer"]]
        acquirer.weather.is_out = _flag(said["on"])
        await acquirer.listen_or_not()

    async def _plan_outage(self, said: Any) -> None:
        outage = Outage(Mode(said["mode"]), to_ms(said["from"]), to_ms(said["to"]))
        if outage.to_ms <= outage.from_ms:
            raise ValueError("an outage ends after it begins")
        await self._acquirers[said["acquirer"]].plan(outage)

    async def _hang(self, said: Any) -> None:
        self._acquirers[said["acquirer"]].weather.is_hanging = _flag(said["on"])

    async def _latency(self, said: Any) -> None:
        median_ms, sigma, max_ms = said["median_ms"], said.get("sigma", 0.5), said["max_ms"]
        numbers = [number for number in (median_ms, max_ms) if type(number) is int and number >= 0]
        if len(numbers) != 2 or not isinstance(sigma, int | float) or sigma < 0:
            raise ValueError("median_ms and max_ms are whole numbers, sigma is not negative")
        latency = Latency(
            median_ms=median_ms,
            sigma=sigma,
            max_ms=max_ms,
            ops=frozenset(Op(op) for op in said.get("ops", Op)),
            seed=f"{self._rules.seed}/{said['acquirer']}",
        )
        self._acquirers[said["acquirer"]].weather.become(latency)

    async def _seed(self, said: Any) -> None:
        if type(said["seed"]) is not int:
            raise TypeError("seed must be a whole number")
        self._rules.seed = said["seed"]

    async def _rule(self, said: Any) -> None:
        if unknown := said.keys() - {"match", "then"}:
            raise ValueError(f"unknown: {sorted(unknown)}")
        if said["match"]["acquirer"] not in self._acquirers:
            raise ValueError(f"no acquirer {said['match']['acquirer']}")
        self._rules.add(said["match"], said["then"])

    async def _clear(self, said: Any) -> None:
        """End every rule, outage, hang and latency. The clock and the book stay."""
        if said != {}:
            raise ValueError("nothing can be said about it")
        self._rules.clear()
        for acquirer in self._acquirers.values():
            acquirer.weather.clear()
            await acquirer.listen_or_not()

    async def _replay(self, said: Any) -> None:
        order = self._book.find(said["acquirer"], Kind(said["kind"]), said["number"])
        if order is None or await self._messenger.repeat(order, Seal(said["seal"])) is None:
            raise ValueError("there is nothing to say about it")

    async def _plant(self, said: Any) -> None:
        self._bills[said["acquirer"]].plan(said, seed=self._rules.seed)

    def _planted(self) -> Iterable[Record]:
        return [one.row() for bills in self._bills.values() for one in bills.planted()]

    def _time(self) -> Iterable[Record]:
        shift = self._clock.shift_ms // 1000
        return [{"now": to_text(self._clock.now_ms()), "shift_seconds": shift}]

    async def _tell(self, request: web.BaseRequest, rows: Iterable[Record]) -> web.StreamResponse:
        """Stream what survives a crash, one JSON line each."""
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
