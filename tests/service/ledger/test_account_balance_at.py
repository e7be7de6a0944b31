"""A balance as of any time or accounting date equals a replay of the journal up to then."""

import random
from datetime import timedelta

import pytest

from ledger.flow.get_balance_at import get_balance_at
from mesh.errors import Refused
from tests.service.ledger.account_world import (
    BUSY,
    HIDDEN,
    IDLE,
    WALLETS,
    Writer,
    ids_of,
    named,
    replayed,
)
from tests.service.ledger.books import connect, post, transfer

MICROSECOND = timedelta(microseconds=1)


@pytest.mark.parametrize("seed", range(3))
async def test_it_equals_a_replay(desk, dsn, seed):
    """At random moments, right at bookings and beside them, and at the end of every date."""
    ids = await ids_of(desk, BUSY, *WALLETS)
    dice = random.Random(seed)
    with connect(dsn) as connection:
        Writer(connection, ids, seed).write(60, size=40)
        blocks = connection.execute("SELECT create_time, acct_date FROM block").fetchall()
        journals = [
            replayed(connection, account_id, 1 if place else -1)
            for place, account_id in enumerate(ids)
        ]
    days = sorted({day for _, day in blocks})
    assert len(days) > 2
    for account, rows in zip([BUSY, *WALLETS], journals, strict=True):
        for _ in range(15):
            moment = dice.choice(blocks)[0] + dice.choice([-1, 0, 1]) * MICROSECOND
            _, found = await get_balance_at(desk, named(account), time=moment)
            past = [row for row in rows if row.create_time <= moment]
            assert (found.posted_minor, found.seq) == _last(past)
        for day in (days[0] - timedelta(days=1), *days, days[-1] + timedelta(days=9)):
            _, found = await get_balance_at(desk, named(account), acct_date=day)
            assert (found.posted_minor, found.seq) == _last(
                [row for row in rows if row.acct_date <= day]
            )


def _last(rows):
    """The balance, and the newest entry that moved it."""
    moves = [row for row in rows if not row.flags & HIDDEN]
    return (moves[-1].balance, moves[-1].seq) if moves else (0, 0)


async def test_it_says_whether_it_can_still_change(desk, dsn):
    """A date until it is cut, a moment until something was booked at it or later."""
    bank, anne = await ids_of(desk, BUSY, IDLE)
    with connect(dsn) as connection:
        post(connection, transfer(bank, anne, 5))
        head, day = connection.execute("SELECT head_time, acct_date FROM book").fetchone()

        async def final(**when):
            _, found = await get_balance_at(desk, named(IDLE), **when)
            assert found.posted_minor in (0, 5)
            return found.is_final

        assert await final(time=head)
        assert not await final(time=head + MICROSECOND)
        assert not await final(acct_date=day)
        assert await final(acct_date=day - timedelta(days=1))
        connection.execute("UPDATE book SET acct_date = acct_date + 1")
        assert await final(acct_date=day)


async def test_a_missing_account_has_no_past(desk):
    """Not zero: it was never opened."""
    with pytest.raises(Refused, match="account not found: account=wallet:MALL/u5:CNY"):
        await get_balance_at(desk, named(IDLE), time=desk.clock.now())
