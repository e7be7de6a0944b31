"""The day is cut: a fence between two batches, without anybody being turned away."""

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest

from ledger.accounts import Accounts
from ledger.flow.close_day import close_day
from ledger.flow.cut_day import cut_day
from ledger.flow.get_day_trial_balance import get_day_trial_balance
from ledger.store import day as store
from ledger.store.day import DayState
from mesh.batch import Rejected
from mesh.db import Database
from mesh.errors import Refused
from tests.service.ledger.books import BOOK, waiting
from tests.service.ledger.days import all_of, closed_day, next_day
from tests.service.ledger.events import booked, open_all, posting
from tests.services import holding

TEMPLATES = ("COLLECTED", "RECHARGED", "WALLET_PAID", "REFUND_ASKED")


@pytest.fixture
async def twin(desk, dsn):
    """The desk of a second replica."""
    async with Database(dsn) as db:
        yield replace(desk, db=db, accounts=Accounts(db))


async def test_a_book_begins_with_its_first_day(desk):
    """Also one that is opened later."""
    await desk.db.rows("INSERT INTO book (book_id, name) VALUES (7, 'other')")
    today = desk.clock.local().date()

    assert await all_of(desk, "SELECT book_id, acct_date, first_block, state FROM book_day") == [
        (1, today, 1, "open"),
        (7, today, 1, "open"),
    ]


async def test_a_day_is_cut_under_load(desk, twin, dsn):
    """Three cuts, two replicas, hundreds of callers: nobody is told of it.

    The cut waits for the book among the batches, and nobody knows who gets it first. Both days
    of each cut balance, and what was written of the days comes to the balances.
    """
    await open_all(desk)
    days, per_round = 3, 60
    results = [await booked(desk, posting("COLLECTED"))]

    for _ in range(days):
        await desk.clock.advance(desk.db, timedelta(days=1))
        to = desk.clock.local().date()
        async with holding(dsn, "SELECT 1 FROM book FOR UPDATE"):
            calls = [
                booked(one, posting(TEMPLATES[n % 4], fee_minor=n, cost_minor=n % 7))
                for n in range(per_round)
                for one in (desk, twin)
            ]
            work = asyncio.gather(cut_day(desk, book_id=BOOK, to=to), *calls)
            await waiting(dsn, 3)  # The cut, and a batch of each replica.
        day, *outcomes = await work
        assert (day.acct_date, day.state) == (to, DayState.OPEN)
        # What comes after the cut belongs to the new day.
        results += [*outcomes, await booked(twin, posting("RECHARGED"))]
    await next_day(desk)

    assert Counter(one for told in results for one in told) == {"posted": len(results)}
    assert len(results) == 1 + days * (2 * per_round + 1)
    await demand_contiguous(desk)
    for day in reversed(await days_of(desk)):
        if day.state is DayState.CUT:
            await close_day(desk, book_id=BOOK, acct_date=day.acct_date)
            await demand_balanced(desk, day.acct_date)
    assert await all_of(desk, _WRITTEN) == await all_of(desk, _STANDING)


async def days_of(desk):
    return await store.page_of_days(desk.db, book_id=BOOK, before=None, size=50)


async def demand_contiguous(desk):
    """Every block lies in exactly one day and has its date; dates never go back."""
    days = [day for day in reversed(await days_of(desk)) if day.state is not DayState.OPEN]
    expected = [
        (number, day.acct_date)
        for day in days
        for number in range(day.first_block, day.last_block + 1)
    ]
    assert all(day.last_block >= day.first_block for day in days)
    assert await all_of(desk, "SELECT block_no, acct_date FROM block ORDER BY 1") == expected


async def demand_balanced(desk, acct_date):
    """Debits are credits before, during and after the day, and something was booked on it."""
    found = await get_day_trial_balance(desk, book_id=BOOK, first=acct_date, last=acct_date)
    [total] = found.totals
    assert total.balanced
    for sides in (total.opening, total.turnover, total.closing):
        assert sides.debit_minor == sides.credit_minor
    assert total.turnover.debit_minor > 0
    broken = await all_of(
        desk,
        """
        SELECT account_id FROM account_day d JOIN balance b USING (book_id, account_id)
        WHERE d.closing <> d.opening + b.normal * (d.credit - d.debit)
        """,
    )
    assert broken == []


_WRITTEN = """
SELECT account_id, sum(debit)::bigint AS debit, sum(credit)::bigint AS credit,
       (array_agg(closing ORDER BY acct_date DESC))[1] AS closing
FROM account_day GROUP BY 1 ORDER BY 1
"""
_STANDING = """
SELECT account_id, debit, credit, normal * (credit - debit) AS closing FROM balance
WHERE (debit, credit) <> (0, 0) ORDER BY 1
"""


async def test_a_cut_waits_for_the_batch_before_it(desk, dsn):
    """And the batch behind it has the new date: the order of the lock is the order of days."""
    await open_all(desk)
    await desk.clock.advance(desk.db, timedelta(days=1))
    today = desk.clock.local().date()
    async with holding(dsn, "SELECT 1 FROM book FOR UPDATE"):
        before = asyncio.create_task(booked(desk, posting("RECHARGED")))
        await waiting(dsn, 1)
        cut = asyncio.create_task(cut_day(desk, book_id=BOOK, to=today))
        await waiting(dsn, 2)
    await asyncio.gather(before, cut)
    await booked(desk, posting("RECHARGED"))

    dates = await all_of(desk, "SELECT acct_date FROM block ORDER BY block_no")
    assert dates == [(today - timedelta(days=1),), (today,)]


async def test_a_cut_is_done_once(desk):
    """A repeat, and one for a date that is over, do nothing; many at once do it once."""
    over = await next_day(desk)
    today = over + timedelta(days=1)

    days = await asyncio.gather(*(cut_day(desk, book_id=BOOK, to=today) for _ in range(8)))

    assert {day.acct_date for day in days} == {today}
    assert await store.cut(desk.db, book_id=BOOK, to=over) is False
    assert [(day.acct_date, day.state) for day in await days_of(desk)] == [
        (today, DayState.OPEN),
        (over, DayState.CUT),
    ]


async def test_days_may_be_skipped(desk):
    """A book that nobody cut over a weekend goes on at the date it is."""
    await desk.clock.advance(desk.db, timedelta(days=3))
    today = desk.clock.local().date()

    await cut_day(desk, book_id=BOOK, to=today)

    assert [(day.acct_date, day.first_block, day.last_block) for day in await days_of(desk)] == [
        (today, 1, None),
        (today - timedelta(days=3), 1, 0),
    ]


@pytest.mark.parametrize("days", [-1, 2, 400])
async def test_a_day_is_not_cut_back_nor_far_ahead(desk, days):
    """Tomorrow may be begun this evening, no more."""
    today = desk.clock.local().date()

    with pytest.raises(Refused) as refused:
        await cut_day(desk, book_id=BOOK, to=today + timedelta(days=days))

    assert refused.value.reason == "CUT_DATE_REFUSED"
    assert refused.value.facts["latest"] == (today + timedelta(days=1)).isoformat()
    day = await cut_day(desk, book_id=BOOK, to=today + timedelta(days=1))
    assert day.acct_date == today + timedelta(days=1)


async def test_a_book_that_is_not_there_has_no_days(desk):
    """Whatever the date."""
    with pytest.raises(Refused, match="book not found: book_id=9"):
        await cut_day(desk, book_id=9, to=desk.clock.local().date())


async def test_a_day_does_not_go_back(desk):
    """Not by a bug of ours either."""
    await closed_day(desk)

    for change in ("state = 'open'", "first_block = 7", "last_block = 7", "acct_date = now()"):
        with pytest.raises(Rejected, match="a day does not go"):
            await desk.db.rows(f"UPDATE book_day SET {change} WHERE state = 'closed'")
    with pytest.raises(Rejected, match="append-only"):
        await desk.db.rows("DELETE FROM book_day")
