"""A link through which connections go, and what can happen to them on the way.

Bytes are never lost, doubled or changed inside a connection that goes on: that is what TCP
promises, so a partition holds them back and hands them over when it ends. What is lost is
lost with its connection.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass

UP, DOWN = "up", "down"  # Towards who listens; back to who called.
_CHUNK = 64 * 1024
_TIRED_S = 5.0  # For a neighbour that neither takes nor refuses a connection.


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """What happens on a link. The default is fair weather.

    `held` are the ways on which bytes wait; `refusing` resets whatever comes; `delay_ms` and
    up to `jitter_ms` more pass before each chunk; `bytes_a_second` 0 is no limit; of
    `cut_ppm` million answers one takes its connection along instead of arriving.
    """

    held: tuple[str, ...] = ()
    refusing: bool = False
    delay_ms: int = 0
    jitter_ms: int = 0
    bytes_a_second: int = 0
    cut_ppm: int = 0


FAIR = Weather()


class Link:
    """Listens at one address and passes every connection on to another.

    An address is `unix:/path` or `host:port`. `seed` draws jitter and cuts.
    """

    def __init__(self, name: str, *, listen: str, target: str, seed: str) -> None:
        self.name, self._listen, self._target = name, listen, target
        self._draw = random.Random(f"{seed} {name}")  # noqa: S311  # To be repeated.
        self._weather = FAIR
        self._changed = asyncio.Event()
        self._pairs: set[_Pair] = set()
        self._server: asyncio.Server | None = None
        self.cuts = 0

    async def open(self) -> None:
        """Begin to listen. Raises OSError."""
        kind, _, place = self._listen.partition(":")
        if kind == "unix":
            self._server = await asyncio.start_unix_server(self._serve, place, limit=_CHUNK)
        else:
            self._server = await asyncio.start_server(self._serve, kind, int(place), limit=_CHUNK)

    async def close(self) -> None:
        """Stop listening and cut everything."""
        if self._server is not None:
            self._server.close()
        self.reset()

    @property
    def weather(self) -> Weather:
        """What happens now."""
        return self._weather

    @weather.setter
    def weather(self, weather: Weather) -> None:
        self._weather = weather
        self._changed.set()
        self._changed = asyncio.Event()
        if weather.refusing:
            self.reset()

    def reset(self) -> int:
        """Cut every connection without a word; return how many there were."""
        pairs = list(self._pairs)
        for pair in pairs:
            pair.abort()
        return len(pairs)

    def half_close(self, way: str) -> int:
        """Say on every connection that nothing more comes on `way`; return how many."""
        pairs = list(self._pairs)
        for pair in pairs:
            pair.shut(way)
        return len(pairs)

    async def passed(self, way: str) -> None:
        """Return when bytes may go on `way`."""
        while way in self._weather.held:
            await self._changed.wait()

    async def crossed(self, size: int) -> None:
        """Return when `size` bytes have had their time on the way."""
        weather = self._weather
        seconds = weather.delay_ms / 1000
        if weather.jitter_ms:
            seconds += self._draw.uniform(0, weather.jitter_ms) / 1000
        if weather.bytes_a_second:
            seconds += size / weather.bytes_a_second
        if seconds:
            await asyncio.sleep(seconds)

    def cuts_now(self, way: str) -> bool:
        """Return whether this answer takes its connection along."""
        odds = self._weather.cut_ppm
        if way != DOWN or not odds or self._draw.randrange(1_000_000) >= odds:
            return False
        self.cuts += 1
        return True

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._weather.refusing:
            _abort(writer)
            return
        pair = _Pair(self, reader, writer)
        self._pairs.add(pair)
        try:
            await pair.carry(self._connect())
        finally:
            pair.abort()
            self._pairs.discard(pair)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        await self.passed(UP)
        kind, _, place = self._target.partition(":")
        async with asyncio.timeout(_TIRED_S):
            if kind == "unix":
                return await asyncio.open_unix_connection(place, limit=_CHUNK)
            return await asyncio.open_connection(kind, int(place), limit=_CHUNK)


class _Pair:
    """One connection: the half that was made to us and the half that we make."""

    def __init__(
        self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._link = link
        self._near = (reader, writer)
        self._far: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._task = asyncio.current_task()

    async def carry(
        self, connecting: Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]
    ) -> None:
        """Return when both ways are over."""
        try:
            self._far = await connecting
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(self._near[0], self._far[1], UP))
                group.create_task(self._pump(self._far[0], self._near[1], DOWN))
        except (OSError, TimeoutError, asyncio.CancelledError):
            return  # Whoever is on the other side notices by the cut.
        except BaseExceptionGroup as group:
            if group.split((OSError, asyncio.CancelledError))[1] is not None:
                raise

    def abort(self) -> None:
        """Cut both halves; over TCP the other side sees a reset."""
        for half in (self._near, self._far):
            if half is not None:
                _abort(half[1])
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()

    def shut(self, way: str) -> None:
        """Say to the end of `way` that nothing more comes."""
        if self._far is not None:
            with suppress(OSError):
                (self._far if way == UP else self._near)[1].write_eof()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: str
    ) -> None:
        while data := await reader.read(_CHUNK):
            await self._link.crossed(len(data))
            await self._link.passed(way)
            if self._link.cuts_now(way):
                raise ConnectionAbortedError("cut")
            try:
                writer.write(data)
                await writer.drain()
            except RuntimeError as error:  # This way was half-closed under our hands.
                raise ConnectionAbortedError(str(error)) from error
        await self._link.passed(way)
        with suppress(OSError, RuntimeError):
            writer.write_eof()


def _abort(writer: asyncio.StreamWriter) -> None:
    """Close at once; TCP sends a reset and nothing that was still to be sent."""
    sock: socket.socket | None = writer.get_extra_info("socket")
    if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
