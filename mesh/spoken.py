"""The server's side of streams of callers from outside: how long they may go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from mesh.errors import refuse
from tongbao.common.v1 import reasons_pb2 as reasons

IDLE_SECONDS = 600.0
_SILENCE = object()


async def spoken(
    said: asyncio.Queue[Any],
    work: asyncio.Task[None],
    *,
    drained: Callable[[], Awaitable[None]],
    lapse: Awaitable[Exception],
    seconds: float,
    idle_seconds: float = IDLE_SECONDS,
) -> AsyncIterator[Any]:
    """Yield what `work` puts into `said` until it has ended; cancel it when we are left.

    Raises what `work` raised, or Refused(STREAM_ENDED): `seconds` are over, nothing was said
    for `idle_seconds`, or the service drains; or what `lapse` brings.
    """
    ends = asyncio.get_running_loop().time() + seconds
    draining = asyncio.ensure_future(drained())
    lapsing = asyncio.ensure_future(lapse)
    try:
        while True:
            while not said.empty():
                yield said.get_nowait()
            if work.done() and said.empty():
                work.result()  # Raises what was wrong with it.
                return
            left = ends - asyncio.get_running_loop().time()
            if lapsing.done():
                raise lapsing.result()
            if draining.done():
                raise _ended("the service restarts")
            if left <= 0:
                raise _ended("it was open for as long as a stream may be")
            word = asyncio.ensure_future(said.get())
            try:
                await asyncio.wait(
                    (word, work, draining, lapsing),
                    timeout=min(left, idle_seconds),
                    return_when=asyncio.FIRST_COMPLETED,
                )
            finally:
                heard = word.done()
                if not heard:
                    word.cancel()
            if heard:
                yield word.result()
            elif not (work.done() or draining.done() or lapsing.done()) and left > idle_seconds:
                raise _ended(f"nothing was said for {idle_seconds:g} s")
    finally:
        for task in (work, draining, lapsing):
            task.cancel()
        await asyncio.gather(work, draining, lapsing, return_exceptions=True)


async def until(said: AsyncIterator[Any], over: asyncio.Future[Any]) -> AsyncIterator[Any]:
    """Yield what is said until it ends, or until `over` is done."""
    while not over.done():
        word = asyncio.ensure_future(anext(said, _SILENCE))
        try:
            await asyncio.wait((word, over), return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not word.done():
                word.cancel()
        if not word.done() or word.cancelled():
            return
        if (heard := word.result()) is _SILENCE:
            return
        yield heard


def _ended(problem: str) -> Exception:
    return refuse(reasons.REASON_STREAM_ENDED, problem=problem)
