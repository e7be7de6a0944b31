"""Work beside the calls, and how it is asked to leave: what is in hand is finished first.

`unbroken` is written around the piece that must not be cut off: a batch of events from its
fetch to its acknowledgement, a row that was leased. Outside of a service it does nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar

import structlog

_TROUBLE_SECONDS = 1.0
_CANCEL_SECONDS = 0.5

log = structlog.get_logger()


class Leaving(Exception):
    """The service leaves: begin nothing more."""


class Duty:
    """One piece of work that goes on until it is told to leave."""

    def __init__(self, work: Callable[[], Awaitable[None]]) -> None:
        self._work = work
        self._leaving = False
        self._in_hand = 0
        self._free = asyncio.Event()
        self._free.set()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin. A bug in the work must not leave the service half alive: it begins again."""
        self._task = asyncio.create_task(self._for_life())

    async def leave(self, within: float) -> None:
        """Return when the work has ended; after `within` seconds what is in hand is cut off."""
        self._leaving = True
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._free.wait()
        await self._end()

    def take(self) -> None:
        """Note that something is in hand. Raises Leaving."""
        if self._leaving:
            raise Leaving
        self._in_hand += 1
        self._free.clear()

    def put_down(self) -> None:
        """Note that it is finished."""
        self._in_hand -= 1
        if not self._in_hand:
            self._free.set()

    async def _for_life(self) -> None:
        _duty.set(self)
        while True:
            try:
                await self._work()
            except Leaving:
                return
            except Exception:  # Whatever it was, the others go on, and so shall this one.
                log.exception("work_broke")
            await asyncio.sleep(_TROUBLE_SECONDS)

    async def _end(self) -> None:
        """Cancel until it has ended.

        Once is not enough: `asyncio.wait_for` of Python 3.11, which the NATS client uses,
        forgets a cancellation that comes together with the result.
        """
        if self._task is None:
            return
        while not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task], timeout=_CANCEL_SECONDS)


_duty: ContextVar[Duty | None] = ContextVar("duty", default=None)


@contextmanager
def unbroken() -> Iterator[None]:
    """Have the block finished before the service leaves. Raises Leaving instead of beginning."""
    duty = _duty.get()
    if duty is None:
        yield
        return
    duty.take()
    try:
        yield
    finally:
        duty.put_down()


async def leave_all(duties: Iterable[Duty], within: float) -> None:
    """Return when all have left."""
    await asyncio.gather(*(duty.leave(within) for duty in duties))
