"""Many connections post at once: the book's lock is the one order they are booked in."""

import asyncio
import random
from itertools import pairwise

import psycopg

from tests.service.ledger.books import (
    PARTIAL,
    PENDING,
    POST,
    POST_SQL,
    VOID,
    balance,
    columns,
    connect,
    open_account,
    post,
    resolve,
    transfer,
    waiting,
)
from tests.service.ledger.seeds import seeds

BANK, ANNE, BEN = 1, 2, 3
CUT = "SELECT day_cut(1, acct_date + 1) FROM book"


def opened(database):
    dsn = database("ledger")
    connection = connect(dsn)
    open_account(connection, BANK, normal=-1)
    open_account(connection, ANNE, floor=0)
    open_account(connection, BEN, floor=0)
    assert post(connection, transfer(BANK, ANNE, 1_000)) == [0]
    return dsn, connection


async def at_once(dsn, scripts):
    """Post every call of every script in order, each script on its own connection.

    All have begun, and wait for the book, before the first one gets it.
    """
    async with await psycopg.AsyncConnection.connect(dsn) as holder:
        await holder.execute("SELECT 1 FROM book FOR UPDATE")
        tasks = [asyncio.create_task(_post_all(dsn, script)) for script in scripts]
        await waiting(dsn, len(scripts))
    return await asyncio.gather(*tasks)


async def _post_all(dsn, calls):
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        await connection.execute("SET lock_timeout = 0")  # However long the others take to come.
        codes = []
        for call in calls:
            if call == CUT:
                await connection.execute(CUT)
                continue
            cursor = await connection.execute(POST_SQL, columns(call))
            codes.append((await cursor.fetchone())[1])
        return codes


@seeds(2)
async def test_the_same_calls_are_booked_once(database, seed):
    """Some connections send the same calls, each in its own order; days are cut meanwhile."""
    dsn, connection = opened(database)
    dice = random.Random(seed)
    senders = dice.randint(2, 6)
    calls = [
        [transfer(BANK, ANNE, 1 + place) for place in range(dice.randint(1, 12))] for _ in range(20)
    ]
    orders = [dice.sample(calls, len(calls)) for _ in range(senders)]

    *answers, _ = await at_once(dsn, [*orders, [CUT, CUT]])

    told = {}
    for order, codes in zip(orders, answers, strict=True):
        for call, result in zip(order, codes, strict=True):
            for one, code in zip(call, result, strict=True):
                told.setdefault(one.id, []).append(code)
    sent = [one for call in calls for one in call]
    assert [sorted(codes) for codes in told.values()] == [[0] + [1] * (senders - 1)] * len(sent)
    assert balance(connection, ANNE)[0] == 1_000 + sum(one.amount for one in sent)
    dates = connection.execute("SELECT acct_date FROM block ORDER BY block_no").fetchall()
    assert all(one <= later for one, later in pairwise(dates))
    connection.close()


@seeds(2)
async def test_a_wallet_never_goes_below_its_floor(database, seed):
    """Sixteen debits compete for money that is enough for a few: those refused did not fit."""
    dsn, connection = opened(database)
    dice = random.Random(seed)
    amounts = [dice.choice([300, dice.randint(1, 700)]) for _ in range(16)]

    answers = await at_once(dsn, [[[transfer(ANNE, BEN, amount)]] for amount in amounts])

    codes = [codes[0][0] for codes in answers]
    taken = sum(amount for amount, code in zip(amounts, codes, strict=True) if code == 0)
    refused = [amount for amount, code in zip(amounts, codes, strict=True) if code == 40]
    assert codes.count(0) + codes.count(40) == 16
    assert balance(connection, ANNE)[0] == 1_000 - taken >= 0
    assert all(amount > 1_000 - taken for amount in refused)
    assert refused
    connection.close()


async def test_a_hold_is_captured_once(database):
    """Sixteen captures of one hold: one moves the money, the others are told."""
    dsn, connection = opened(database)
    hold = transfer(ANNE, BEN, 500, PENDING)
    assert post(connection, hold) == [0]

    answers = await at_once(dsn, [[[resolve(hold, POST)]] for _ in range(16)])

    assert sorted(codes[0][0] for codes in answers) == [0] + [33] * 15
    assert balance(connection, ANNE) == (500, 0, 0)
    connection.close()


@seeds(2)
async def test_a_hold_ends_once(database, seed):
    """Parts, the rest and voids compete: no more moves than was held, and nothing stays held."""
    dsn, connection = opened(database)
    dice = random.Random(seed)
    hold = transfer(ANNE, BEN, 500, PENDING)
    assert post(connection, hold) == [0]
    parts = [resolve(hold, POST | PARTIAL, dice.randint(1, 200)) for _ in range(10)]
    ends = [resolve(hold, dice.choice([POST, VOID])) for _ in range(6)]
    asked = dice.sample(parts + ends, 16)

    answers = await at_once(dsn, [[[one]] for one in asked])

    codes = [codes[0][0] for codes in answers]
    assert set(codes) <= {0, 32, 33, 34}
    assert not {33, 34} <= set(codes)  # It ended in one way.
    moved = balance(connection, BEN)[0]
    booked = [one for one, code in zip(asked, codes, strict=True) if code == 0]
    captured = sum(one.amount for one in booked if one.flags & PARTIAL)
    assert captured <= moved <= 500
    assert sum(not one.flags & PARTIAL for one in booked) <= 1
    assert balance(connection, ANNE) == (1_000 - moved, 0, 0)
    connection.close()
