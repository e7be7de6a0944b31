"""Time, outages by plan and slowness: all of them as planned, none of them by chance."""

import asyncio
from datetime import timedelta

import aiohttp
import pytest

from sim.clock import Clock, ClockError, day_of, start_of, to_ms, to_text
from sim.faults import Op
from sim.weather import Latency
from tests.simulator import Simulator, charge, open_inbox, start_simulator

HOUR = 3_600_000


async def test_what_a_jump_passes_happens_in_order_and_at_once():
    """What is due at the same moment, as it was asked for; what it asks for in turn, too."""
    clock, seen = Clock(), []
    now = clock.now_ms()
    clock.at(now + 3 * HOUR, lambda: seen.append("third"))
    clock.at(now + HOUR, lambda: (seen.append("first"), clock.after(0, lambda: seen.append("0"))))
    clock.at(now + HOUR, lambda: seen.append("second"))
    clock.at(now + 9 * HOUR, lambda: seen.append("never"))

    clock.shift(4 * HOUR)

    assert seen == ["first", "second", "third", "0"]
    assert clock.now_ms() - now >= 4 * HOUR


async def test_time_never_goes_back():
    """To where it is it can be moved as often as one likes."""
    clock = Clock()
    for shift_ms in (HOUR, HOUR):
        clock.shift(shift_ms)
    with pytest.raises(ClockError):
        clock.shift(HOUR - 1)
    assert clock.shift_ms == HOUR


async def test_real_time_rings_too():
    """Nobody has to move the clock for what is due soon."""
    clock, rung = Clock(), asyncio.Event()
    clock.after(1, rung.set)
    async with asyncio.timeout(20):
        await rung.wait()


def test_a_business_day_is_the_providers():
    """Midnight in its zone, not in ours."""
    midnight = to_ms("2026-11-23T00:00:00+08:00")
    assert to_text(midnight) == "2026-11-22T16:00:00.000Z"
    assert str(day_of(midnight)) == "2026-11-23"
    assert str(day_of(midnight - 1)) == "2026-11-22"
    assert start_of(day_of(midnight + 5 * HOUR)) == midnight


def test_latency_is_drawn_from_its_seed():
    """By kind, number and how often it was asked; around its median, never above its most."""

    def latency(seed: str, sigma: float = 0.5) -> Latency:
        return Latency(
            median_ms=100, sigma=sigma, max_ms=400, ops=frozenset({Op.CHARGE}), seed=seed
        )

    drawn = [latency("7").draw_ms(Op.CHARGE, f"N{n}", 0) for n in range(999)]
    assert drawn == [latency("7").draw_ms(Op.CHARGE, f"N{n}", 0) for n in range(999)]
    assert drawn != [latency("8").draw_ms(Op.CHARGE, f"N{n}", 0) for n in range(999)]
    assert 90 < sorted(drawn)[499] < 110
    assert max(drawn) == 400
    assert latency("7").draw_ms(Op.QUERY, "N", 0) == 0
    assert latency("7", 0).draw_ms(Op.CHARGE, "N", 0) in (99, 100)


@pytest.fixture
async def simulator(tmp_path):
    async with start_simulator(tmp_path, pay_delay_ms=5) as running:
        yield running


@pytest.fixture
async def inbox():
    async with open_inbox() as opened:
        yield opened


async def plan(simulator: Simulator, mode: str, begins: int, ends: int) -> None:
    """An outage of sim-a, in hours from now."""
    now = await simulator.now()
    window = {"from": (now + timedelta(hours=begins)).isoformat(),
              "to": (now + timedelta(hours=ends)).isoformat()}  # fmt: skip
    await simulator.control("outages", {"acquirer": "sim-a", "mode": mode, **window})


async def post(simulator: Simulator, inbox, acquirer: str = "sim-a") -> int:
    return (await simulator.call("POST", "/v1/charges", charge(inbox), acquirer=acquirer))[0]


async def test_an_outage_by_plan_comes_and_goes_with_the_clock(simulator, inbox):
    """Connects are refused inside the window only; the neighbour does not notice."""
    await plan(simulator, "refuse", 1, 3)
    assert await post(simulator, inbox) == 200
    await simulator.advance(hours=2)
    with pytest.raises(aiohttp.ClientConnectorError):
        await post(simulator, inbox)
    assert await post(simulator, inbox, "sim-b") == 200
    await simulator.advance(hours=2)
    assert await post(simulator, inbox) == 200


async def test_an_outage_of_errors_does_nothing(simulator, inbox):
    """Signed, like any answer."""
    await plan(simulator, "error", 0, 1)
    asked = charge(inbox)
    assert await simulator.call("POST", "/v1/charges", asked) == (500, {"code": "SYSTEM_ERROR"})
    await simulator.advance(hours=1)
    assert (await simulator.call("GET", f"/v1/charges/{asked['charge_no']}"))[0] == 404


async def test_an_outage_of_silence_does_nothing(simulator, inbox):
    """What hung in it is not done after it either."""
    await plan(simulator, "hang", 0, 1)
    asked = charge(inbox)
    hung = asyncio.create_task(simulator.call("POST", "/v1/charges", asked))
    for _ in range(3):
        assert await post(simulator, inbox, "sim-b") == 200
    await simulator.advance(hours=1)
    assert (await simulator.call("GET", f"/v1/charges/{asked['charge_no']}"))[0] == 404
    assert not hung.done()
    hung.cancel()
    await asyncio.wait([hung])


async def test_a_window_that_ends_before_it_begins_is_refused(simulator):
    """So is a mode that nobody knows, and a clock that goes back."""
    for mode, begins, ends in (("refuse", 2, 1), ("refuse", 1, 1)):
        with pytest.raises(AssertionError, match="not understood"):
            await plan(simulator, mode, begins, ends)
    with pytest.raises(AssertionError, match="not understood"):
        await plan(simulator, "sleep", 1, 2)
    await simulator.advance(hours=1)
    for shift in (3599, -1, "1", 1.5, True):
        await simulator.control("clock", {"shift_seconds": shift}, expect=400)


async def test_a_slow_reply_is_slow_before_anything_is_done(simulator, inbox):
    """Others are not; whoever does not wait for it has asked for nothing."""
    await simulator.control(
        "latency",
        {"acquirer": "sim-a", "median_ms": 60_000, "max_ms": 60_000, "sigma": 0, "ops": ["charge"]},
    )
    asked = charge(inbox)
    slow = asyncio.create_task(simulator.call("POST", "/v1/charges", asked))
    assert await post(simulator, inbox, "sim-b") == 200
    assert (await simulator.call("GET", f"/v1/charges/{asked['charge_no']}"))[0] == 404
    assert not slow.done()
    slow.cancel()
    await asyncio.wait([slow])
    await simulator.control("latency", {"acquirer": "sim-a", "median_ms": 0, "max_ms": 0})
    assert await post(simulator, inbox) == 200
    wrong = {"acquirer": "sim-a", "median_ms": -1, "max_ms": 0}
    await simulator.control("latency", wrong, expect=400)
