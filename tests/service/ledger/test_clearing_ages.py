"""Clearing accounts by age: first in, first out, whatever is closed and whatever is not."""

import random

import pytest

from ledger.flow.close_day import close_day
from ledger.flow.get_clearing_ages import get_clearing_ages
from ledger.flow.open_account import open_account
from ledger.store import day as days
from mesh.errors import Refused
from tests.service.ledger.books import BOOK
from tests.service.ledger.days import closed_day, next_day
from tests.service.ledger.events import WALLETS, booked, open_all, posting, standing

PUT, TAKE = "MISMATCH_SUSPENDED", "REFUND_SUSPENDED"


@pytest.fixture(autouse=True)
async def accounts(desk):
    """A business line with one merchant, one channel and one user."""
    await open_all(desk)


async def age_of(desk, channel_code="sim"):
    """Return the oldest date and the buckets of a channel; all accounts add up."""
    today, ages = await get_clearing_ages(desk, book_id=BOOK)
    stands = await standing(desk)
    for one in ages:
        name = f"clearing:{one.channel_code}:{one.currency_code}"
        assert sum(one.open_minor) == one.balance_minor == stands.get(name, 0)
    [found] = [one for one in ages if one.channel_code == channel_code]
    oldest = (today - found.oldest).days if found.oldest else None
    return oldest, list(found.open_minor)


async def moved(desk, *events):
    """Book so much in (above zero) or out of clearing."""
    told = [posting(PUT if minor > 0 else TAKE, amount_minor=abs(minor)) for minor in events]
    assert set(await booked(desk, *told)) == {"posted"}


async def test_the_oldest_is_used_up_first(desk):
    assert await age_of(desk) == (None, [0] * 7)
    await moved(desk, 100)
    await closed_day(desk)
    await moved(desk, 50, -30)
    assert await age_of(desk) == (1, [50, 70, 0, 0, 0, 0, 0])
    await closed_day(desk)
    await moved(desk, 5, -90)
    assert await age_of(desk) == (1, [5, 30, 0, 0, 0, 0, 0])
    await moved(desk, -35)
    assert await age_of(desk) == (None, [0] * 7)


async def test_what_we_owe_a_channel_is_below_zero_and_ages_as_well(desk):
    await moved(desk, 10, -60)
    await closed_day(desk)
    await moved(desk, -20, 15)
    assert await age_of(desk) == (1, [-20, -35, 0, 0, 0, 0, 0])


async def test_every_age_has_its_bucket(desk):
    """Something on each of 33 days; a day that nobody closed counts as well as a closed one."""
    for _ in range(33):
        await moved(desk, 1)
        await closed_day(desk)
    assert await age_of(desk) == (33, [0, 1, 1, 1, 4, 23, 3])


async def test_days_that_are_not_closed_count_all_the_same(desk):
    """Also while one is being closed: what is written of it so far is a draft."""
    await moved(desk, 100)
    await closed_day(desk)
    await moved(desk, 40)
    first = await next_day(desk)
    await moved(desk, 7)
    second = await next_day(desk)
    await moved(desk, 2, -1)
    expected = (3, [2, 7, 40, 99, 0, 0, 0])
    assert await age_of(desk) == expected
    states = []
    while not states or states[-1] is days.StepState.MORE:
        step = await days.close_step(desk.db, book_id=BOOK, acct_date=first, most=1)
        states.append(step.state)
        assert await age_of(desk) == expected
    assert len(states) > 3
    await close_day(desk, book_id=BOOK, acct_date=second)
    assert await age_of(desk) == expected


async def test_clearing_of_wallets_returns_to_zero(desk):
    await open_account(desk, WALLETS)
    await booked(desk, posting("RECHARGED"))
    assert await booked(desk, posting("WALLET_PAID", cost_minor=0)) == ["posted"]
    assert await age_of(desk, "balance") == (0, [-10_000, 0, 0, 0, 0, 0, 0])
    await closed_day(desk)
    assert await booked(desk, posting("COLLECTED", channel_code="balance", cost_minor=0)) == [
        "posted"
    ]
    assert await age_of(desk, "balance") == (None, [0] * 7)


async def test_a_book_that_is_not_there_is_refused(desk):
    with pytest.raises(Refused, match="book not found"):
        await get_clearing_ages(desk, book_id=99)


@pytest.mark.parametrize("seed", range(2))
async def test_a_queue_says_the_same(desk, seed):
    """Against a queue that is filled and used up day by day, with days closed late."""
    chance = random.Random(seed)
    by_day, unclosed = [], []
    for _ in range(9):
        events = [chance.randint(-60, 60) or 1 for _ in range(chance.randint(0, 5))]
        if events:
            await moved(desk, *events)
        by_day.append(events)
        if len(by_day) == 9:
            break
        unclosed.append(await next_day(desk))
        while len(unclosed) > chance.randint(0, 2):
            await close_day(desk, book_id=BOOK, acct_date=unclosed.pop(0))

    queue = by_queue(by_day)
    expected = [0] * 7
    for place, minor in queue:
        age = len(by_day) - 1 - place
        expected[age if age < 4 else 4 if age < 8 else 5] += minor
    oldest = len(by_day) - 1 - queue[0][0] if queue else None
    assert await age_of(desk) == (oldest, expected)


def by_queue(by_day):
    """Return what is left as [day, amount], the oldest first, below zero if that is what is."""
    ins = [[place, minor] for place, day in enumerate(by_day) for minor in day if minor > 0]
    outs = [[place, minor] for place, day in enumerate(by_day) for minor in day if minor < 0]
    while ins and outs:
        used = min(ins[0][1], -outs[0][1])
        ins[0][1] -= used
        outs[0][1] += used
        ins, outs = [one for one in ins if one[1]], [one for one in outs if one[1]]
    return ins or outs
