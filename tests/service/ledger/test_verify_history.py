"""The proof goes on over days in files: what was done to these is found, and located."""

from dataclasses import replace

import duckdb
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ledger.flow import prove_blocks
from ledger.flow.keep_history import keep_history
from ledger.flow.prove_book import prove_book
from ledger.history.files import file_of, sha256_of
from ledger.store import proof
from tests.service.ledger.books import BOOK
from tests.service.ledger.days import all_of
from tests.service.ledger.events import booked, posting
from tests.service.ledger.history import old_days
from tests.service.ledger.test_verify_seams import in_calls

BLOCK_2 = ("HASH_CHAIN", "block 2 of book 1")


@pytest.fixture
def falsify(postgres, dsn):
    """Return a function that runs SQL as a superuser with the triggers switched off."""

    def run(sql, *params):
        admin = make_conninfo(postgres.admin_dsn, dbname=conninfo_to_dict(dsn)["dbname"])
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute("SET search_path = ledger")
            connection.execute("SET session_replication_role = replica")
            assert connection.execute(sql, params).rowcount > 0

    return run


@pytest.fixture
async def days(desk, falsify):
    """Two days in files whose rows have left the database, and one that is open."""
    dates = await old_days(desk)
    assert [(await keep_history(desk)).acct_date for _ in dates] == dates
    for table in ("transfer", "voucher"):
        falsify(f"DELETE FROM {table}")
    assert await booked(desk, posting("RECHARGED"), posting("MISMATCH_SUSPENDED")) == ["posted"] * 2
    return dates


def path_of(desk, acct_date, table="transfer"):
    return file_of(desk.history.folder, book_id=BOOK, acct_date=acct_date, table=table)


def rewrite(path, rows):
    """Write a file anew with other rows: `rows` is SQL over `old`."""
    new = path.with_suffix(".new")
    with duckdb.connect() as connection:
        connection.execute(f"CREATE VIEW old AS SELECT * FROM '{path}'")
        connection.execute(f"COPY ({rows}) TO '{new}' (FORMAT parquet)")
    new.replace(path)


async def found(desk):
    proved = await prove_book(desk)
    return {(one.check, one.place) for one in proved.findings}


async def test_days_in_files_are_proved(desk, days):
    """All that was ever booked, whatever of it is where."""
    proved = await prove_book(desk)

    assert proved.findings == []
    [(transfers, head)] = await all_of(
        desk, "SELECT sum(transfers)::bigint AS n, max(block_no) AS m FROM block"
    )
    assert (proved.entries, proved.blocks) == (transfers, head)
    assert transfers > 2 * 3


async def test_they_are_proved_in_parts(desk, days, monkeypatch):
    """None of them of two days: files and database each for itself."""
    monkeypatch.setattr(prove_blocks, "_SLICE_ENTRIES", 1)

    parts = [part async for part in prove_blocks.prove_blocks(desk, BOOK)]

    assert [one for part in parts for one in part.findings] == []
    ends = await all_of(desk, "SELECT last_block FROM book_day WHERE last_block > 0 ORDER BY 1")
    assert {last + 1 for (last,) in ends} < {part.next_block for part in parts}
    assert len([part for part in parts if part.entries]) > len(ends)


async def test_a_day_that_goes_into_files_under_the_proof_is_proved(desk, falsify, monkeypatch):
    """It is in the database when we look, and in files when we read."""
    [day] = await old_days(desk, count=1)
    look = proof.run_from
    looked = []

    async def look_and_lose(*place, **asked):
        run = await look(*place, **asked)
        looked.append(run.is_filed)
        if len(looked) == 1:
            assert (await keep_history(desk)).acct_date == day
            falsify("DELETE FROM transfer")
        return run

    monkeypatch.setattr(proof, "run_from", look_and_lose)

    assert await found(desk) == set()
    assert looked[:2] == [False, True]


async def test_a_changed_amount_is_found(desk, days):
    """By its file, its block, and what it no longer adds up to."""
    path = path_of(desk, days[0])
    rewrite(path, f"SELECT * REPLACE (amount + (seq = {8192 * 2 + 1})::INT AS amount) FROM old")

    assert await found(desk) == {
        ("HISTORY", str(path)),
        BLOCK_2,
        ("REPLAY", "account merchant_pending:mer_1:CNY"),
        ("REPLAY", "account clearing:sim:CNY"),
    }


@pytest.mark.parametrize("is_gone", [False, True])
async def test_as_much_is_found_in_a_call_for_every_part(
    desk, days, tmp_path, monkeypatch, is_gone
):
    """A file that was changed, or is lost; then no call compares balances with what it lacks."""
    path = path_of(desk, days[0])
    rewrite(path, f"SELECT * REPLACE (amount + (seq = {8192 * 2 + 1})::INT AS amount) FROM old")
    if is_gone:
        path.unlink()
    whole = await found(desk)
    monkeypatch.setattr(prove_blocks, "_SLICE_ENTRIES", 1)
    monkeypatch.setattr(prove_blocks, "_KEEP_SECONDS", -1.0)

    calls = await in_calls(replace(desk, proofs=tmp_path / "proofs"), parts=1)

    assert {(one.check, one.place) for [part] in calls[:-1] for one in part.findings} == whole
    assert len(calls) > 6
    assert ("REPLAY" in {check for check, _ in whole}) != is_gone


async def test_a_changed_amount_is_found_though_the_book_was_told(desk, days, falsify):
    """Whoever gives the book the digest of his file has not the hash of the block."""
    path = path_of(desk, days[0])
    rewrite(path, f"SELECT * REPLACE (amount + (seq = {8192 * 2 + 1})::INT AS amount) FROM old")
    falsify(
        "UPDATE history_day SET transfer_sha256 = decode(%s, 'hex') WHERE acct_date = %s",
        sha256_of(path),
        days[0],
    )

    assert await found(desk) == {
        BLOCK_2,
        ("REPLAY", "account merchant_pending:mer_1:CNY"),
        ("REPLAY", "account clearing:sim:CNY"),
    }


async def test_a_missing_row_is_found(desk, days):
    """By its file, its block, its voucher."""
    path = path_of(desk, days[0])
    rewrite(path, f"SELECT * FROM old WHERE seq <> {8192 * 2 + 1}")

    places = await found(desk)

    assert {("HISTORY", str(path)), BLOCK_2} < places
    assert {check for check, _ in places} == {"HISTORY", "HASH_CHAIN", "VOUCHER", "REPLAY"}


async def test_a_changed_voucher_is_found(desk, days):
    """The first entry of a voucher is sealed together with it."""
    path = path_of(desk, days[1], "voucher")
    rewrite(
        path,
        "SELECT * REPLACE (CASE WHEN template = 'RECHARGED' THEN 'MALL-9' ELSE trace_no END"
        " AS trace_no) FROM old",
    )
    [(block,)] = await all_of(desk, "SELECT min(first_block) + 3 AS n FROM history_day")
    assert await found(desk) == {
        ("HISTORY", str(path)),
        ("HASH_CHAIN", f"block {block} of book 1"),
    }


@pytest.mark.parametrize("table", ["transfer", "voucher"])
async def test_a_missing_file_is_found_and_nobody_accused(desk, days, table):
    """What its entries came to is not known, so balances are not compared with the others."""
    path = path_of(desk, days[0], table)
    path.unlink()

    assert await found(desk) == {("HISTORY", str(path))}


async def test_a_file_that_is_none_is_found(desk, days, falsify):
    """Its digest is the one that the book says, and still nobody can read it."""
    path = path_of(desk, days[1])
    path.write_bytes(b"nothing")
    falsify(
        "UPDATE history_day SET transfer_sha256 = decode(%s, 'hex') WHERE acct_date = %s",
        sha256_of(path),
        days[1],
    )

    [told] = (await prove_book(desk)).findings
    assert (told.check, told.place) == ("HISTORY", f"files of {days[1]} of book 1")
    assert "\n" not in told.detail
    assert "Restore the file from its copy" in told.detail


@pytest.mark.parametrize("slice_entries", [1, 10_000])
async def test_a_file_that_was_made_unreadable_is_told_of_once(
    desk, days, monkeypatch, slice_entries
):
    """By its digest, though nobody can read it either, and however many parts are proved."""
    monkeypatch.setattr(prove_blocks, "_SLICE_ENTRIES", slice_entries)
    path = path_of(desk, days[0])
    path.write_bytes(b"nothing")

    [told] = (await prove_book(desk)).findings
    assert (told.check, told.place) == ("HISTORY", str(path))
    assert "Restore the file from its copy" in told.detail


async def test_a_replaced_digest_is_found(desk, days, falsify):
    """The chain holds: it is the book that says something else of its file."""
    falsify("UPDATE history_day SET voucher_sha256 = sha256(voucher_sha256) WHERE acct_date = %s",
            days[1])  # fmt: skip

    assert await found(desk) == {("HISTORY", str(path_of(desk, days[1], "voucher")))}


async def test_a_day_that_no_row_names_is_found(desk, days, falsify):
    """The book says that so many blocks are in files, and not in which."""
    [(first, last)] = await all_of(
        desk, "SELECT min(last_block) + 1 AS a, max(last_block) AS b FROM history_day"
    )
    falsify("DELETE FROM history_day WHERE acct_date = %s", days[1])

    assert await found(desk) == {("HISTORY", f"blocks {first} to {last} of book 1")}
