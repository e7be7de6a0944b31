"""How tests wait: for a condition, never for time."""

import asyncio
import inspect
from collections.abc import Callable
from contextlib import suppress

WITHIN_S = 20.0
_LOOK_EVERY_S = 0.02


async def eventually(condition: Callable[[], object], *, within: float = WITHIN_S) -> None:
    """Return as soon as `condition`, plain or async, says something true; fail after `within` s."""
    never = asyncio.Event()
    loop = asyncio.get_running_loop()
    give_up = loop.time() + within
    while not await _said(condition):
        assert loop.time() < give_up, f"not so after {within} s: {condition}"
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_EVERY_S):
                await never.wait()


async def _said(condition: Callable[[], object]) -> object:
    said = condition()
    return await said if inspect.isawaitable(said) else said
