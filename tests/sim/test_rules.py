"""Scripted faults: whom they strike, when, how often, and always the same ones of a seed."""

from datetime import UTC, datetime

import pytest

from sim.faults import Fault, Op
from sim.rules import Rules, Subject
from tests.simulator import Simulator, charge, open_inbox, start_simulator

NOON = int(datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp() * 1000)
HOUR = 3_600_000


def subject(number: str = "N1", *, attach: str = "", op: Op = Op.CHARGE, **other) -> Subject:
    fields = {"acquirer": "sim-a", "amount_minor": 1000, "is_known": False} | other
    return Subject(op=op, number=number, attach=attach, **fields)


def rules(fault: str = "reset", *, seed: int = 0, times: int | None = None, **match) -> Rules:
    made = Rules(seed=seed)
    made.add({"acquirer": "sim-a", "op": "charge", **match}, {"fault": fault, "times": times})
    return made


def struck(made: Rules, *subjects: Subject, now_ms: int = NOON) -> list[bool]:
    return [made.take(one, now_ms=now_ms).fault is Fault.RESET for one in subjects]


def test_a_rule_can_name_the_app_or_the_order_by_the_callers_note():
    """What stands before the first dash is the app."""
    mall, shop = subject(attach="MALL-1"), subject(attach="SHOP-1")
    other, none = subject(attach="MALL-2-1"), subject()
    assert struck(rules(app="MALL"), mall, shop, other, none) == [True, False, True, False]
    assert struck(rules(attach="MALL-1"), mall, shop, other, none) == [True, False, False, False]


def test_a_rule_without_end_strikes_until_it_is_cleared():
    """And one with an end that often."""
    ever, twice = rules(), rules(times=2)
    assert struck(ever, *[subject()] * 5) == [True] * 5
    assert struck(twice, *[subject()] * 3) == [True, True, False]
    ever.clear()
    assert struck(ever, subject()) == [False]


def test_a_window_begins_with_its_first_moment_and_ends_before_its_last():
    """In virtual time, whatever zone it is written in."""
    made = rules(**{"from": "2026-11-22T20:00:00+08:00", "to": "2026-11-22T13:00:00Z"})
    moments = [NOON - 1, NOON, NOON + HOUR - 1, NOON + HOUR]
    assert [struck(made, subject(), now_ms=at) for at in moments] == [[False], [True], [True],
                                                                      [False]]  # fmt: skip


def test_a_share_is_the_same_of_the_same_seed_in_any_order():
    """About as many as it says; another seed, or another rule, chooses others."""
    orders = [subject(f"N{n}", attach=f"MALL-{n}") for n in range(2000)]
    chosen = struck(rules(seed=7, share_ppm=100_000), *orders)
    assert 120 < sum(chosen) < 280
    assert struck(rules(seed=7, share_ppm=100_000), *orders[::-1]) == chosen[::-1]
    assert struck(rules(seed=8, share_ppm=100_000), *orders) != chosen
    assert not any(struck(rules(share_ppm=0), *orders))
    assert all(struck(rules(share_ppm=1_000_000), *orders))
    two = rules("none", seed=7, share_ppm=0)
    two.add({"acquirer": "sim-a", "op": "charge", "share_ppm": 100_000},
            {"fault": "reset", "times": None})  # fmt: skip
    assert struck(two, *orders) != chosen


def test_who_is_of_a_share_is_struck_once_and_gets_through_then():
    """Else it would be struck for ever. Another number of the same order is another try."""
    made = rules(share_ppm=999_999)
    assert struck(made, *[subject("A", attach="MALL-1")] * 3) == [True, False, False]
    assert struck(made, subject("B", attach="MALL-1")) == [True]


def test_a_share_strikes_an_order_and_its_questions_alike():
    """By the caller's note, which the order of a question has: numbers differ from run to run."""
    made = rules(share_ppm=500_000)
    made.add({"acquirer": "sim-a", "op": "query", "share_ppm": 500_000},
             {"fault": "reset", "times": None})  # fmt: skip
    for n in range(50):
        one, other = (subject(f"{run}-{n}", attach=f"MALL-{n}") for run in "AB")
        assert struck(made, one) == struck(made, other)


@pytest.mark.parametrize(
    ("match", "then"),
    [
        ({"share_ppm": 1_000_001}, {}),
        ({"share_ppm": -1}, {}),
        ({"amount_minor": True}, {}),
        ({"from": "yesterday"}, {}),
        ({"from": "2026-11-22T12:00:00"}, {}),
        ({"colour": "red"}, {}),
        ({}, {"times": 0}),
        ({}, {"times": 1.5}),
        ({}, {"after_s": -1}),
        ({}, {"fault": "bad luck"}),
        ({"op": "query"}, {"fault": "paid_twice"}),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(match, then):
    """Rather than guessed."""
    with pytest.raises((TypeError, ValueError)):
        Rules(seed=0).add(
            {"acquirer": "sim-a", "op": "charge"} | match, {"fault": "reset", "times": 1} | then
        )


async def test_clearing_ends_everything_that_was_set(tmp_path):
    """Rules, hangs, outages, latency; the same seed then chooses the same again."""
    async with open_inbox() as inbox, start_simulator(tmp_path, pay_delay_ms=5) as simulator:

        async def choice() -> list[int]:
            await simulator.control("clear", {})
            await simulator.control("seed", {"seed": 42})
            await simulator.rule("system_error", op="charge", times=None, share_ppm=500_000)
            return [await status(simulator, inbox, f"MALL-{n}") for n in range(12)]

        first = await choice()
        assert set(first) == {200, 500}
        assert await choice() == first
        await simulator.hang(on=True)
        await simulator.outage("sim-b", on=True)
        await simulator.control("clear", {})
        for acquirer in ("sim-a", "sim-b"):
            assert await status(simulator, inbox, "", acquirer=acquirer) == 200
        await simulator.control("clear", {"rules": True}, expect=400)


async def status(simulator: Simulator, inbox, attach: str, *, acquirer: str = "sim-a") -> int:
    asked = charge(inbox, **({"attach": attach} if attach else {}))
    return (await simulator.call("POST", "/v1/charges", asked, acquirer=acquirer))[0]
