"""Work beside the calls leaves when it is asked to, and finishes what it has in hand."""

import asyncio

from mesh.duty import Duty, Leaving, leave_all, unbroken


async def test_what_is_in_hand_is_finished_before_the_work_leaves():
    """And nothing more is begun."""
    begun, go_on, finished = asyncio.Event(), asyncio.Event(), []

    async def work():
        while True:
            with unbroken():
                begun.set()
                await go_on.wait()
                finished.append(1)
            await asyncio.sleep(0)

    duty = Duty(work)
    duty.start()
    await begun.wait()
    leaving = asyncio.create_task(duty.leave(within=30))
    await asyncio.sleep(0)
    assert not leaving.done()
    go_on.set()
    await leaving
    assert finished == [1]


async def test_what_takes_too_long_is_cut_off():
    """Who waits for ever would keep the service from leaving for ever."""
    begun, cut = asyncio.Event(), []

    async def work():
        with unbroken():
            begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cut.append(1)
                raise

    duty = Duty(work)
    duty.start()
    await begun.wait()
    await leave_all([duty], within=0.01)
    assert cut == [1]


async def test_who_comes_too_late_is_told_so():
    """So that a batch that was fetched meanwhile can be given back."""
    begun, go_on, given_back = asyncio.Event(), asyncio.Event(), []

    async def work():
        with unbroken():
            begun.set()
            await go_on.wait()
        try:
            with unbroken():
                raise AssertionError("begun after it was asked to leave")
        except Leaving:
            given_back.append(1)
            raise

    duty = Duty(work)
    duty.start()
    await begun.wait()
    leaving = asyncio.create_task(duty.leave(within=30))
    await asyncio.sleep(0)
    go_on.set()
    await leaving
    assert given_back == [1]


async def test_a_bug_in_the_work_does_not_end_it(monkeypatch):
    """It begins again."""
    monkeypatch.setattr("mesh.duty._TROUBLE_SECONDS", 0)
    tries, twice = [], asyncio.Event()

    async def work():
        tries.append(1)
        if len(tries) == 2:
            twice.set()
            await asyncio.Event().wait()
        raise ValueError("a bug")

    duty = Duty(work)
    duty.start()
    async with asyncio.timeout(20):
        await twice.wait()
    await duty.leave(within=1)


def test_outside_of_a_service_nothing_is_asked():
    """Flows are called by tests and commands too."""
    with unbroken():
        pass
