"""How a room finds out how much fits into it, on a clock of the test's own."""

import pytest

from mesh import limits, room
from mesh.errors import Refused
from mesh.limits import Account, Limits
from mesh.room import TARGET_SECONDS, WINDOW_SECONDS, Room

LIMITS = Limits(per_second=10, burst=20, in_flight=8, streams=2)


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still; `clock.at += 1` moves it."""

    class Clock:
        at = 1_000.0

    for module in (room, limits):
        monkeypatch.setattr(module, "monotonic", lambda: Clock.at)
    return Clock


def full(one):
    """Fill the room; return how many were let in before one was refused."""
    for count in range(1_000):
        try:
            one.enter("mall", 1)
        except Refused:
            return count
    raise AssertionError("it refuses nobody")


def judged(one, clock, seconds, *, method="PayTrade"):
    """Let twenty calls end that took so long, and a window pass."""
    clock.at += WINDOW_SECONDS
    one.learn(method, seconds[0])  # Closes the window before.
    for second in seconds:
        one.learn(method, second)
    clock.at += WINDOW_SECONDS
    one.learn(method, seconds[0])


SLOW, QUICK = [TARGET_SECONDS * 2] * 20, [TARGET_SECONDS / 10] * 20


def grown(clock):
    """Return a room of 20 to 100 that is as large as it may be."""
    one = Room(least=20, most=100)
    while one.limit < 100:
        one.leave("mall", full(one))
        judged(one, clock, QUICK)
    return one


def wary(clock, *, least, most):
    """Return a room that has just seen a queue, so that its limit is all that it takes."""
    one = Room(least=least, most=most)
    judged(one, clock, SLOW)
    return one


def test_it_takes_what_fits_and_refuses_the_next(clock):
    """It begins with the least; what leaves makes room."""
    one = wary(clock, least=10, most=20)
    assert full(one) == 10
    one.leave("mall", 3)
    assert full(one) == 3


def test_it_takes_twice_as_much_until_it_sees_a_queue(clock):
    """And again when none was seen for some time."""
    one = Room(least=10, most=100)
    count = full(one)
    assert count == 20
    one.leave("mall", count)
    judged(one, clock, SLOW)
    assert full(one) == 10
    one.leave("mall", 10)
    judged(one, clock, QUICK)
    count = full(one)
    assert count == int(one.limit)
    one.leave("mall", count)
    for _ in range(10):
        judged(one, clock, QUICK)
    assert full(one) == int(2 * one.limit)


def test_it_grows_when_it_is_full_and_nothing_ends(clock):
    """Those inside wait for somebody else: others are not kept out because of them."""
    one = Room(least=10, most=100)
    assert full(one) == 20
    assert full(one) == 0
    clock.at += WINDOW_SECONDS
    assert full(one) == 20
    assert full(one) == 0


def test_a_standing_queue_makes_it_smaller_down_to_the_least(clock):
    """Even the quick calls are slow: less in proportion, at most half of it at a time."""
    one = grown(clock)
    judged(one, clock, [TARGET_SECONDS * 1.25] * 20)
    assert one.limit == pytest.approx(80)
    judged(one, clock, [TARGET_SECONDS * 10] * 20)
    assert one.limit == pytest.approx(40)
    for _ in range(9):
        judged(one, clock, SLOW)
    assert one.limit == 20


def test_it_grows_only_when_it_was_full(clock):
    """Up to the most."""
    one = Room(least=10, most=100)
    judged(one, clock, QUICK)
    assert one.limit == 10
    count = full(one)
    judged(one, clock, QUICK)
    assert one.limit == pytest.approx(12)
    one.leave("mall", count)
    for _ in range(100):
        one.leave("mall", full(one))
        judged(one, clock, QUICK)
    assert one.limit == 100


def test_a_provider_that_hangs_takes_no_room(clock):
    """Most calls are slow, one in five is quick: there is no standing queue."""
    one = grown(clock)
    judged(one, clock, SLOW[:16] + QUICK[:4])
    assert one.limit == 100


def test_a_slow_method_counts_though_another_is_quick(clock):
    """What is paid waits; what is only written does not."""
    one = grown(clock)
    one.learn("CreateTrade", QUICK[0])
    for second in QUICK:
        one.learn("CreateTrade", second)
    judged(one, clock, SLOW)
    assert one.limit < 100


def test_an_empty_room_takes_any_batch(clock):
    """Or a batch larger than the room could never be done."""
    one = Room(least=1, most=4)
    one.enter("mall", 512)
    assert full(one) == 0


def test_an_app_with_less_than_its_share_gets_in(clock):
    """Half of an equal share is kept for it, not more."""
    one = Room(least=16, most=16)
    assert full(one) == 16
    for _ in range(4):
        one.enter("kiosk", 1)
    with pytest.raises(Refused, match="overloaded"):
        one.enter("kiosk", 1)


def test_a_bucket_fills_up_with_time_and_no_further(clock):
    """Ten a second, twenty at a stroke."""
    account = Account(LIMITS.burst, clock.at)
    taken = 0
    for seconds, allowed in ((0, 20), (1, 10), (60, 20)):
        clock.at += seconds
        for _ in range(allowed):
            account.take(LIMITS, 1)
            account.in_flight -= 1
            taken += 1
        with pytest.raises(Refused, match="rate limited") as refused:
            account.take(LIMITS, 1)
        assert refused.value.facts == {"limit": "10", "retry_after_ms": "100"}
    assert taken == 50


def test_a_batch_larger_than_the_bucket_passes_once_and_is_paid_off(clock):
    """Fifty with a burst of twenty: three seconds of debt."""
    account = Account(LIMITS.burst, clock.at)
    account.take(LIMITS, 50)
    account.in_flight -= 50
    with pytest.raises(Refused) as refused:
        account.take(LIMITS, 1)
    assert refused.value.facts["retry_after_ms"] == "3100"


def test_what_is_refused_for_being_too_much_at_once_costs_no_tokens(clock):
    """It was not done."""
    account = Account(LIMITS.burst, clock.at)
    account.take(LIMITS, 8)
    with pytest.raises(Refused, match="too many in flight"):
        account.take(LIMITS, 1)
    assert (account.tokens, account.in_flight) == (12, 8)
