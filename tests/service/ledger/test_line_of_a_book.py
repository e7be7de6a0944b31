"""A business line is in one book for all processes, from the first thing that is done for it."""

import asyncio
import dataclasses

import pytest

from ledger.accounts import Accounts
from ledger.flow.assign_book import assign_book
from ledger.flow.create_book import create_book
from ledger.flow.forbid import forbid
from ledger.flow.get_balance import get_balance
from ledger.flow.open_account import open_account
from ledger.model import Account, AccountKind
from mesh.db import Database
from mesh.errors import Refused
from tests.service.ledger.books import connect, waiting
from tests.service.ledger.events import booked, posting

WALLET = Account(AccountKind.WALLET, "SHOP/u1", "CNY")
PARKED = {"business_code": "SHOP", "trace_no": "SHOP-1"}


@pytest.fixture
async def twin(desk, dsn):
    """Another process of the ledger: it remembers nothing of what this one does."""
    async with Database(dsn) as db:
        yield dataclasses.replace(desk, db=db, accounts=Accounts(db))


async def books_with(desk, event):
    """Return the books in which the event is."""
    rows = await desk.db.rows(
        "SELECT book_id FROM voucher WHERE source_no = %(number)s ORDER BY 1",
        number=event.source_no,
    )
    return [row.book_id for row in rows]


async def test_who_looked_before_the_line_moved_books_where_it_is(desk, twin):
    """Looking remembers no book that the line may still leave: one event, one book."""
    with pytest.raises(Refused, match="account not found"):
        await get_balance(desk, WALLET)
    second = await create_book(desk, "second")
    assert await assign_book(twin, "SHOP", "second") == second
    event = posting("MISMATCH_SUSPENDED", **PARKED)

    assert await booked(twin, event) == ["posted"]
    assert await booked(desk, event) == ["exists"]

    assert await books_with(desk, event) == [second]
    await open_account(desk, WALLET)
    assert await get_balance(twin, WALLET) == 0


async def opens(desk):
    await open_account(desk, WALLET)


async def books(desk):
    assert await booked(desk, posting("MISMATCH_SUSPENDED", **PARKED)) == ["posted"]


async def is_refused(desk):
    paid = posting("WALLET_PAID", **PARKED)
    assert await booked(desk, paid) == ["refused DEBIT_ACCOUNT_NOT_FOUND"]


async def forbids(desk):
    assert not await forbid(desk, posting("WALLET_PAID", **PARKED))


@pytest.mark.parametrize("first", [opens, books, is_refused, forbids])
async def test_a_line_of_which_anything_is_stays(desk, twin, first):
    """Its accounts, entries and refusals are in the first book, and are unique in it only."""
    await create_book(desk, "second")
    await first(desk)

    with pytest.raises(Refused, match="business code in use: business_code=SHOP"):
        await assign_book(twin, "SHOP", "second")

    assert await assign_book(twin, "SHOP", "main") == 1


async def test_of_a_booking_and_an_assignment_at_once_one_is_first(desk, twin, dsn):
    """Who books waits for the line's row, and goes where that says; so does everybody else."""
    second = await create_book(desk, "second")
    event = posting("MISMATCH_SUSPENDED", **PARKED)
    with connect(dsn) as holder, holder.transaction():
        holder.execute("INSERT INTO book_of (business_code, book_id) VALUES ('SHOP', 2)")
        booking = asyncio.create_task(booked(desk, event))
        await waiting(dsn, 1)
        assigning = asyncio.create_task(assign_book(twin, "SHOP", "second"))
        await waiting(dsn, 2)

    assert await booking == ["posted"]
    with pytest.raises(Refused, match="business code in use"):
        await assigning  # It cannot know whose row that is; asked again it does.
    assert await assign_book(twin, "SHOP", "second") == second
    assert await booked(twin, event) == ["exists"]
    assert await books_with(desk, event) == [second]


async def test_a_line_is_asked_for_once(desk):
    """By whoever opens or books for it; reading then asks no more."""
    await open_account(desk, WALLET)
    for _ in range(3):
        await booked(desk, posting("MISMATCH_SUSPENDED", **PARKED))
        await get_balance(desk, WALLET)

    asked = desk.db.sizes()
    assert sum(asked["keep_line"].values()) == 1
    assert "find_book" not in asked
