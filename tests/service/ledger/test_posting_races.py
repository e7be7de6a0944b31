"""Many connections post at once: the book's lock is the one order they are booked in."""

import asyncio
import random

import psycopg

from tests.service.ledger.books import (
    PENDING,
    POST,
    POST_SQL,
    balance,
    columns,
    connect,
    open_account,
    post,
    resolve,
    transfer,
    waiting,
)

BANK, ANNE, BEN = 1, 2, 3


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
        codes = []
        for call in calls:
            cursor = await connection.execute(POST_SQL, columns(call))
            codes.append((await cursor.fetchone())[1])
        return codes


async def test_the_same_calls_are_booked_once(database):
    """Four connections send the same twenty calls, each in its own order."""
    dsn, connection = opened(database)
    calls = [[transfer(BANK, ANNE, 1 + place) for place in range(9)] for _ in range(20)]
    orders = [random.Random(seed).sample(calls, len(calls)) for seed in range(4)]

    answers = await at_once(dsn, orders)

    told = {}
    for order, codes in zip(orders, answers, strict=True):
        for call, result in zip(order, codes, strict=True):
            for one, code in zip(call, result, strict=True):
                told.setdefault(one.id, []).append(code)
    assert [sorted(codes) for codes in told.values()] == [[0, 1, 1, 1]] * 180
    assert balance(connection, ANNE)[0] == 1_000 + 20 * 45
    connection.close()


async def test_a_wallet_never_goes_below_its_floor(database):
    """Sixteen debits compete for money that is enough for three."""
    dsn, connection = opened(database)

    answers = await at_once(dsn, [[[transfer(ANNE, BEN, 300)]] for _ in range(16)])

    assert sorted(codes[0][0] for codes in answers) == [0] * 3 + [40] * 13
    assert balance(connection, ANNE)[0] == 100
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
