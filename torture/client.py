"""A caller that remembers: every try is in the history, and what is unclear is asked again.

As a caller should, it repeats a call under the same number with the same content until it is
told something definite; a faithless one leaves after the first unclear answer.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from time import monotonic
from typing import Any

import grpc

from checker.evidence import MAYBE, OK, Call, Told
from demo.client import Doors, read_error
from mesh.tokens import Signer
from tongbao.trade.v1 import trade_service_pb2 as pb
from torture.history import History, is_definite
from torture.told import sights_of, told_by

CALL_S = 4.0
_PAUSE_S = (0.1, 1.2)
_STREAM_S = 8.0
_AT_ONCE = 48

SendMany = Callable[[Mapping[int, Any]], Awaitable[tuple[dict[int, Any], Told]]]


class Gone(Exception):
    """What was asked for is not there."""


class Patience:
    """Until when callers ask again; nobody gives up before the end is announced."""

    def __init__(self) -> None:
        self._until: float | None = None

    def ends_in(self, seconds: float) -> None:
        """Announce the end."""
        self._until = monotonic() + seconds

    @property
    def is_over(self) -> bool:
        """Whether it is time to leave."""
        return self._until is not None and monotonic() > self._until


class Client:
    """One app's calls through the public door."""

    def __init__(
        self, doors: Doors, signer: Signer, history: History, patience: Patience, *, seed: str
    ) -> None:
        self._doors, self._signer, self._history = doors, signer, history
        self._patience = patience
        self._turn = asyncio.Semaphore(_AT_ONCE)
        self._draw = random.Random(seed)  # noqa: S311  # It only spreads calls.

    async def change(
        self, process: str, call: Call, request: Any, *, faithful: bool = True
    ) -> Any | None:
        """Carry `call` out by `request`; return its answer, None when it was refused."""
        while True:
            answer, told = await self._once(process, call, request)
            if is_definite(told):
                return answer
            if not faithful or self._patience.is_over:
                return None
            await self.pause()

    async def change_all(
        self, process: str, calls: Sequence[Call], requests: Sequence[Any], send: SendMany
    ) -> None:
        """Carry out many `calls` in one by `send`, again until each is answered."""
        left, first = dict(enumerate(calls)), True
        while left and not self._patience.is_over:
            numbers = {
                place: self._history.call_begins(process, call) for place, call in left.items()
            }
            results, told = await send({place: requests[place] for place in left})
            for place, number in numbers.items():
                result = results.get(place)
                own = told if result is None else told_by(result, replayed=not first)
                seen = sights_of(getattr(result, "response", None), calls[place].trace_no)
                self._history.ends(number, process, calls[place].verb, own, sights=seen)
                if is_definite(own):
                    del left[place]
            first = False
            if left:
                await self.pause()

    async def batch(self, requests: Mapping[int, Any]) -> tuple[dict[int, Any], Told]:
        """Pay in one call; return what came back by place, and what was told otherwise."""
        request = pb.BatchPayTradesRequest(items=requests.values())
        answer, told = await self._send("BatchPayTrades", request)
        results = answer.results if answer is not None else ()
        return dict(zip(requests, results, strict=False)), told

    async def stream(self, requests: Mapping[int, Any]) -> tuple[dict[int, Any], Told]:
        """Pay over a stream of its own; what is not answered when it breaks is unclear."""
        items = [
            pb.PayTradeItem(item_id=str(place), request=one) for place, one in requests.items()
        ]
        found: dict[int, Any] = {}
        async with self._turn:
            bearer = (("authorization", f"Bearer {self._signer.token()}"),)
            call = self._doors.trade.StreamPayTrades(timeout=_STREAM_S, metadata=bearer)
            try:
                await call.write(pb.StreamPayTradesRequest(items=items))
                await call.done_writing()
                async for pack in call:
                    found |= {int(result.item_id): result for result in pack.results}
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError) as error:
                code = error.code().name if isinstance(error, grpc.aio.AioRpcError) else ""
                return found, Told(code=code if code in MAYBE else "UNKNOWN")
            finally:
                call.cancel()
        return found, Told(code="UNKNOWN")

    async def read(self, process: str, verb: str, request: Any, trace_no: str) -> Any | None:
        """Return what a read shows, None when it failed this time. Raises Gone."""
        number = self._history.read_begins(process, verb)
        answer, told = await self._send(verb, request)
        self._history.ends(number, process, verb, told, sights=sights_of(answer, trace_no))
        if is_definite(told) and answer is None:
            raise Gone(told.reason)
        return answer

    async def until(self, look: Callable[[], Any]) -> Any | None:
        """Return the first answer of `look` that is not None.

        None when there is nothing to look at, or when patience ends.
        """
        while not self._patience.is_over:
            try:
                found = await look()
            except Gone:
                return None
            if found is not None:
                return found
            await self.pause()
        return None

    async def intrude(self, verb: str, request: Any, token: str, *, what: str, why: str) -> None:
        """Try what nobody may, with this token; `why` is the reason it must be refused for."""
        number = self._history.intrusion_begins("stranger", verb, what=what, expected=why)
        _, told = await self._send(verb, request, token=token)
        self._history.ends(number, "stranger", verb, told)

    async def pause(self) -> None:
        """Wait for as long as callers wait before they ask again."""
        await asyncio.sleep(self._draw.uniform(*_PAUSE_S))

    async def _once(self, process: str, call: Call, request: Any) -> tuple[Any | None, Told]:
        number = self._history.call_begins(process, call)
        answer, told = await self._send(call.verb, request)
        seen = sights_of(answer, call.trace_no)
        self._history.ends(number, process, call.verb, told, sights=seen)
        return answer, told

    async def _send(self, verb: str, request: Any, *, token: str = "") -> tuple[Any | None, Told]:
        """Send one call; return its answer and what was told."""
        bearer = token or self._signer.token()
        async with self._turn:
            call = getattr(self._doors.trade, verb)(
                request, timeout=CALL_S, metadata=(("authorization", f"Bearer {bearer}"),)
            )
            try:
                answer = await call
            except grpc.aio.AioRpcError as error:
                failed = read_error(error)
                return None, Told(code=failed.code, reason=failed.reason)
            trailers = dict(await call.trailing_metadata() or ())
        replayed = trailers.get("idempotent-replayed") == "true"
        return answer, replace(told_by(answer), code=OK, replayed=replayed)
