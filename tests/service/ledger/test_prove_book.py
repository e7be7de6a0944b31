"""Prove the books: every way to falsify them is found, and said where."""

import asyncio

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ledger.flow import prove_book as flow
from ledger.flow.prove_book import prove_book
from tests.service.ledger.events import booked, open_all, posting


@pytest.fixture
async def books(desk):
    """Four blocks: a recharge, three payments at once, a collection, a suspension."""
    await open_all(desk)
    await booked(desk, posting("RECHARGED"))
    paid = [posting("WALLET_PAID", amount_minor=1_000) for _ in range(3)]
    await asyncio.gather(*(booked(desk, one) for one in paid))
    await booked(desk, posting("WALLET_PAID"), posting("COLLECTED"), posting("MISMATCH_SUSPENDED"))
    return desk


@pytest.fixture
def falsify(postgres, dsn):
    """Return a function that runs SQL as a superuser with the triggers switched off."""
    database = conninfo_to_dict(dsn)["dbname"]

    def run(sql):
        admin = make_conninfo(postgres.admin_dsn, dbname=database)
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute("SET search_path = ledger")
            connection.execute("SET session_replication_role = replica")
            assert connection.execute(sql).rowcount > 0

    return run


def found(proved):
    return {(one.check, one.place) for one in proved.findings}


async def test_honest_books_are_proved(books):
    """Nothing is found, and everything was looked at."""
    proved = await prove_book(books)

    assert proved.findings == []
    assert (proved.blocks, proved.entries, proved.accounts) == (4, 9, 11)


async def test_empty_books_are_proved(desk):
    """There is a book before there is anything in it."""
    proved = await prove_book(desk)

    assert (proved.blocks, proved.entries, proved.accounts, proved.findings) == (0, 0, 0, [])


async def test_long_books_are_proved_in_parts(books, monkeypatch):
    """What is wrong in one part is found there, and the parts hang together."""
    monkeypatch.setattr(flow, "_SLICE_ENTRIES", 3)
    await booked(books, *[posting("COLLECTED") for _ in range(7)])

    assert (await prove_book(books)).findings == []


# The falsification, what is found, and where. Places of accounts are names.
BLOCK_1, BLOCK_2, BLOCK_3, BLOCK_4 = (f"block {n} of book 1" for n in (1, 2, 3, 4))
FALSIFIED = [
    pytest.param(
        "UPDATE transfer SET amount = 1001 WHERE seq = 2 * 8192 + 2",
        {
            ("HASH_CHAIN", BLOCK_2),
            ("REPLAY", "account wallet:MALL/u1:CNY"),
            ("REPLAY", "account clearing:balance:CNY"),
        },
        id="changed amount",
    ),
    pytest.param(
        "UPDATE transfer SET credit_id = debit_id, debit_id = credit_id WHERE seq = 3 * 8192 + 2",
        {
            ("HASH_CHAIN", BLOCK_3),
            ("REPLAY", "account fee_income::CNY"),
            ("REPLAY", "account clearing:sim:CNY"),
        },
        id="turned round",
    ),
    pytest.param(
        "UPDATE block SET create_time = create_time - interval '1 day' WHERE block_no = 2",
        {("HASH_CHAIN", BLOCK_2)},
        id="another day",
    ),
    pytest.param(
        "UPDATE block SET hash = sha256(hash) WHERE block_no = 3",
        {("HASH_CHAIN", BLOCK_3), ("HASH_CHAIN", BLOCK_4)},
        id="another hash",
    ),
    pytest.param(
        "UPDATE book SET head_hash = sha256(head_hash)",
        {("HASH_CHAIN", BLOCK_4)},
        id="another head",
    ),
    pytest.param(
        "UPDATE voucher SET trace_no = 'MALL-9' WHERE template = 'COLLECTED'",
        {("HASH_CHAIN", BLOCK_3)},
        id="another trace",
    ),
    pytest.param(
        "UPDATE voucher SET amount_minor = 9999 WHERE template = 'RECHARGED'",
        {("HASH_CHAIN", BLOCK_1)},
        id="another amount on the voucher",
    ),
    pytest.param(
        "UPDATE balance SET credit = credit + 5 WHERE account_id ="
        " (SELECT account_id FROM account WHERE kind = 'wallet')",
        {("REPLAY", "account wallet:MALL/u1:CNY"), ("DOUBLE_ENTRY", "CNY in book 1")},
        id="edited balance",
    ),
    pytest.param(
        "DELETE FROM block WHERE block_no = 4",
        {("HASH_CHAIN", BLOCK_4)},
        id="last block gone",
    ),
    pytest.param(
        "DELETE FROM block WHERE block_no = 2",
        {("HASH_CHAIN", BLOCK_2), ("HASH_CHAIN", BLOCK_3)},
        id="block gone",
    ),
]


@pytest.mark.parametrize(("sql", "findings"), FALSIFIED)
async def test_a_falsification_is_found(books, falsify, sql, findings):
    """By the rows it touched and by what they no longer add up to; nothing else is accused."""
    falsify(sql)

    assert found(await prove_book(books)) == findings


async def voucher_of(desk, template):
    """Return what the finding calls the voucher of a template."""
    rows = await desk.db.rows("SELECT txn FROM voucher WHERE template = %(t)s", t=template)
    return f"voucher {rows[0].txn} of book 1"


@pytest.mark.parametrize("place", [1, 2, 3])
async def test_a_deleted_entry_is_found(books, falsify, place):
    """First, middle or last of its voucher: the voucher is no longer whole."""
    voucher = await voucher_of(books, "COLLECTED")
    falsify(f"DELETE FROM transfer WHERE seq = 3 * 8192 + {place}")

    proved = await prove_book(books)

    assert {("HASH_CHAIN", BLOCK_3), ("VOUCHER", voucher)} < found(proved)
    details = {one.detail for one in proved.findings}
    assert "it says 3 entries, there are 2" in details
    assert "2 entries do not give the hash that seals 3" in details


async def test_a_deleted_voucher_is_found(books, falsify):
    """Its entries belong to nothing."""
    voucher = await voucher_of(books, "COLLECTED")
    falsify("DELETE FROM voucher WHERE template = 'COLLECTED'")

    assert found(await prove_book(books)) == {("HASH_CHAIN", BLOCK_3), ("VOUCHER", voucher)}


async def test_a_cut_tail_is_found(books, falsify):
    """The last block goes with all that it booked; the book still remembers it."""
    falsify("DELETE FROM transfer WHERE seq > 4 * 8192")
    falsify("DELETE FROM voucher WHERE seq > 4 * 8192")
    falsify("DELETE FROM block WHERE block_no = 4")

    assert found(await prove_book(books)) == {
        ("HASH_CHAIN", BLOCK_4),
        ("REPLAY", "account suspense::CNY"),
        ("REPLAY", "account clearing:sim:CNY"),
    }


async def test_a_cut_tail_is_found_though_the_book_was_told(books, falsify):
    """Whoever sets the head back as well forgets the balances."""
    falsify("DELETE FROM transfer WHERE seq > 4 * 8192")
    falsify("DELETE FROM voucher WHERE seq > 4 * 8192")
    falsify("DELETE FROM block WHERE block_no = 4")
    falsify("UPDATE book SET head_block = 3, head_hash = hash FROM block WHERE block_no = 3")

    assert found(await prove_book(books)) == {
        ("REPLAY", "account suspense::CNY"),
        ("REPLAY", "account clearing:sim:CNY"),
    }


async def test_a_deleted_balance_is_found(books, falsify):
    """Its entries are still there."""
    [row] = await books.db.rows("SELECT account_id FROM account WHERE kind = 'suspense'")
    falsify(f"DELETE FROM balance WHERE account_id = {row.account_id}")

    assert found(await prove_book(books)) == {
        ("REPLAY", f"account {row.account_id}"),
        ("DOUBLE_ENTRY", "CNY in book 1"),
    }
