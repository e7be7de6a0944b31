"""Holds whose time is over are let go, once, by whoever comes first."""

import asyncio

import pytest

from ledger.flow.expire_holds import expire_holds
from ledger.flow.prove_book import prove_book
from tests.service.ledger.books import (
    PENDING,
    POST,
    VOID,
    balance,
    connect,
    open_account,
    post,
    resolve,
    transfer,
)
from tests.waiting import eventually

BANK, ANNE, BEN = 1, 2, 3


@pytest.fixture
def books(dsn):
    """A book where the bank has paid 10,000 to Anne."""
    with connect(dsn) as connection:
        yield opened(connection)


def opened(connection):
    open_account(connection, BANK, normal=-1)
    open_account(connection, ANNE, floor=0)
    open_account(connection, BEN, floor=0)
    assert post(connection, transfer(BANK, ANNE, 10_000)) == [0]
    return connection


def held(books, amount, ttl):
    hold = transfer(ANNE, BEN, amount, PENDING, ttl=ttl, code=7)
    assert post(books, hold) == [0]
    return hold


def wait(books, seconds):
    books.execute("UPDATE clock SET shift = shift + make_interval(secs => %s)", [seconds])


def states(books):
    return dict(books.execute("SELECT id, state FROM hold").fetchall())


async def test_what_is_due_is_let_go(desk, books):
    """And nothing else: not what has time left, not what never expires, not what has ended."""
    due, later, never = held(books, 100, 60), held(books, 200, 120), held(books, 400, 0)
    ended = held(books, 800, 60)
    assert post(books, resolve(ended, VOID)) == [0]
    assert await expire_holds(desk) == 0
    wait(books, 61)

    assert await expire_holds(desk) == 1

    assert states(books) == {due.id: 3, later.id: 0, never.id: 0, ended.id: 2}
    assert balance(books, ANNE) == (10_000, 600, 0)
    assert await expire_holds(desk) == 0
    assert post(books, resolve(due, POST)) == [35]
    [(flags, code)] = books.execute(
        "SELECT flags, code FROM transfer WHERE ref = %s", [due.id]
    ).fetchall()
    assert (flags & 1023, code) == (8 | 128, 7)
    assert (await prove_book(desk)).findings == []


async def test_what_was_captured_in_part_gives_back_the_rest(desk, books):
    """Only what is still on hold is let go."""
    hold = held(books, 500, 60)
    assert post(books, resolve(hold, POST | 64, 200)) == [0]
    wait(books, 61)

    assert await expire_holds(desk) == 1

    assert balance(books, ANNE) == (9_800, 0, 0)
    assert balance(books, BEN) == (200, 0, 0)


async def test_two_at_once_let_go_once(desk, books):
    """Both find the same holds; the second is told that they exist."""
    for _ in range(20):
        held(books, 10, 60)
    wait(books, 61)

    async with asyncio.TaskGroup() as both:
        tasks = [both.create_task(expire_holds(desk)) for _ in range(2)]

    assert [task.result() for task in tasks] == [20, 20]
    assert balance(books, ANNE) == (10_000, 0, 0)
    assert set(states(books).values()) == {3}
    assert books.execute("SELECT count(*) FROM transfer").fetchone() == (41,)


async def test_a_limit_is_kept(desk, books):
    """The rest is for the next time, the oldest first."""
    holds = [held(books, 10, seconds) for seconds in (60, 50, 40)]
    wait(books, 61)

    assert await expire_holds(desk, limit=2) == 2
    assert [states(books)[hold.id] for hold in holds] == [0, 3, 3]
    assert await expire_holds(desk, limit=2) == 1


async def test_a_running_ledger_does_it_by_itself(ground):
    """Two replicas, business time."""
    async with ground.run("ledger") as one, ground.run("ledger", replica=1):
        with connect(one.dsn) as connection:
            books = opened(connection)
            held(books, 100, 3_600)
            await one.shift("1 hour")

            await eventually(lambda: balance(books, ANNE) == (10_000, 0, 0))
