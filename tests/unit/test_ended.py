"""Waiting for work, or for something else, or not any longer."""

import asyncio

import pytest

from mesh.crew import ended


async def _for_ever():
    await asyncio.Event().wait()


@pytest.fixture
async def endless():
    """A task that does not end."""
    task = asyncio.create_task(_for_ever())
    yield task
    task.cancel()


async def test_work_that_ends_is_noticed():
    """Whatever it ends with."""

    async def break_down():
        raise ValueError("broken")

    good = asyncio.create_task(asyncio.sleep(0))
    bad = asyncio.create_task(break_down())
    assert await ended(good, within=None)
    assert await ended(bad, within=60)
    assert isinstance(bad.exception(), ValueError)


async def test_time_that_is_over_is_noticed(endless):
    """The work goes on."""
    assert not await ended(endless, within=0.001)
    assert not await ended(endless, within=0)
    assert not endless.done()


async def test_the_other_thing_ends_the_waiting_too(endless):
    """Before the waiting or while it lasts."""
    other = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(ended(endless, within=60, also=other))
    await asyncio.sleep(0)
    other.set_result(None)
    assert await waiting
    assert await ended(endless, within=60, also=other)


async def test_who_stops_waiting_leaves_nothing_behind(endless):
    """Neither a timer that fires later nor a callback."""
    waiting = asyncio.create_task(ended(endless, within=60))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not endless.done()
