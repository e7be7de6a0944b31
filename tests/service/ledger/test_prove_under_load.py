"""Proving while posting goes on: nobody is accused who did nothing, and who did is found."""

import asyncio
import random
import threading

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ledger.flow import _proof, prove_blocks, prove_book
from tests.service.ledger import books
from tests.service.ledger.books import BLUE, BOOK, PARTIAL, PENDING, POST, RED, VOID
from tests.waiting import eventually

ACCOUNTS = 9


class Poster:
    """Posts one call after the other, of every kind, among accounts that become more."""

    def __init__(self, dsn, seed=0):
        self.chance = random.Random(seed)
        self.connection = books.connect(dsn)
        self.accounts, self.calls = 0, 0
        self.holds, self.done = [], []
        for _ in range(ACCOUNTS):
            self.open()

    def open(self):
        self.accounts += 1
        books.open_account(self.connection, self.accounts)

    def post(self):
        self.calls += 1
        if self.accounts < 2 * ACCOUNTS and self.chance.random() < 0.2:
            self.open()
        made = [self.one() for _ in range(self.chance.randint(1, 4))]
        books.post(self.connection, *made)

    def one(self):
        debit, credit = self.chance.sample(range(1, self.accounts + 1), 2)
        what = self.chance.random()
        if what < 0.2:
            self.holds.append(books.transfer(debit, credit, 100, PENDING))
            return self.holds[-1]
        if what < 0.3 and self.holds:
            return books.resolve(self.chance.choice(self.holds), POST | PARTIAL, 10)
        if what < 0.5 and self.holds:
            hold = self.holds.pop(self.chance.randrange(len(self.holds)))
            return books.resolve(hold, self.chance.choice((POST, VOID)))
        if what < 0.6 and self.done:
            kind = self.chance.choice((RED, BLUE))
            return books.reverse(self.chance.choice(self.done), kind, 1)
        self.done.append(books.transfer(debit, credit, 50))
        return self.done[-1]


@pytest.fixture
def poster(dsn, request):
    """Posts of a seed, or of one."""
    made = Poster(dsn, seed=getattr(request, "param", 1))
    with made.connection:
        yield made


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Slices and pages so small that there are many."""
    monkeypatch.setattr(_proof, "_PAGE_ROWS", 4)
    for flow in (prove_blocks, prove_book):
        monkeypatch.setattr(flow, "_SLICE_ENTRIES", 5)


@pytest.fixture
def falsify(postgres, dsn):
    """Return a function that runs SQL as a superuser with the triggers switched off."""

    def run(sql):
        admin = make_conninfo(postgres.admin_dsn, dbname=conninfo_to_dict(dsn)["dbname"])
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute("SET search_path = ledger")
            connection.execute("SET session_replication_role = replica")
            assert connection.execute(sql).rowcount > 0

    return run


async def proved(desk, poster):
    """Prove with something posted between any two parts; return blocks, accounts, findings."""
    blocks = accounts = 0
    findings = []
    async for part in prove_blocks.prove_blocks(desk, BOOK):
        findings += part.findings
        blocks, accounts = part.next_block - 1, accounts + part.accounts
        poster.post()
    return blocks, accounts, findings


@pytest.mark.parametrize("poster", range(2), indirect=True)
async def test_posting_between_any_two_parts_accuses_nobody(desk, poster):
    """Balances, holds and reversals move while they are read; accounts are opened."""
    for _ in range(40):
        poster.post()
    before, known = poster.calls, poster.accounts

    blocks, accounts, findings = await proved(desk, poster)

    assert findings == []
    assert poster.calls > before + 20, "posting went on"
    assert blocks > before - 10, "and was proved as far as it had come"
    assert accounts >= known


@pytest.mark.parametrize(
    ("sql", "check", "place"),
    [
        (
            "UPDATE balance SET credit = credit + 1 WHERE account_id = 3",
            {"REPLAY", "DOUBLE_ENTRY"},
            "account test:3:CNY",
        ),
        (
            "UPDATE balance SET debit = debit + 1, credit = credit + 1 WHERE account_id = 3",
            {"REPLAY"},
            "account test:3:CNY",
        ),
        (
            "UPDATE balance SET debit_pending = debit_pending + 1 WHERE account_id = 4",
            {"PENDING"},
            "account test:4:CNY",
        ),
        ("UPDATE hold SET state = 1, remaining = 0 WHERE id = '{hold}'", {"HOLD"}, "hold {hold}"),
        ("UPDATE hold SET remaining = 999 WHERE id = '{hold}'", {"HOLD"}, "hold {hold}"),
        ("DELETE FROM reversal WHERE id = '{origin}'", {"REVERSAL"}, "transfer {origin}"),
    ],
)
async def test_what_was_falsified_is_found_all_the_same(desk, poster, falsify, sql, check, place):
    """It, and nothing else."""
    hold = books.transfer(1, 2, 100, PENDING)
    origin = books.transfer(1, 2, 100)
    posted = books.post(poster.connection, hold, origin, books.reverse(origin, BLUE, 5))
    assert posted == [0, 0, 0]
    for _ in range(20):
        poster.post()
    falsify(sql.format(hold=hold.id, origin=origin.id))

    _, _, findings = await proved(desk, poster)

    assert {one.check for one in findings} == check
    found = {
        one.place.removesuffix(" of book 1") for one in findings if one.check != "DOUBLE_ENTRY"
    }
    assert found == {place.format(hold=hold.id, origin=origin.id)}


async def test_posting_at_the_same_time_accuses_nobody(desk, poster):
    """In a thread of its own, as fast as it can."""
    stop = threading.Event()

    def post():
        while not stop.is_set():
            poster.post()

    posting = asyncio.create_task(asyncio.to_thread(post))
    try:
        rounds = []
        for calls in (20, 40):
            await eventually(lambda: poster.calls > calls)  # noqa: B023
            rounds.append(await prove_book.prove_book(desk))
    finally:
        stop.set()
        await posting

    assert [one.findings for one in rounds] == [[], []]
    assert rounds[0].blocks < rounds[-1].blocks
