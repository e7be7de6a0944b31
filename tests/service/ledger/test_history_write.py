"""Closed days go to files, row by row, once, and are read back before anybody relies on them."""

import asyncio
from datetime import timedelta

import pytest

from ledger.flow.close_day import close_day
from ledger.flow.create_book import create_book
from ledger.flow.keep_history import keep_history
from ledger.flow.turn_days import turn_days
from ledger.history.files import COLUMNS, file_of, sha256_of
from ledger.history.write import NotWritten, drafting
from ledger.store import history as store
from mesh.batch import Rejected
from tests.service.ledger.books import BOOK
from tests.service.ledger.days import all_of, closed_day, next_day
from tests.service.ledger.events import booked, open_all, posting
from tests.service.ledger.history import of_file, of_table, old_days

_ACCOUNT = """
WITH a AS (
    INSERT INTO account (account_id, book_id, kind, owner, currency_code)
    OVERRIDING SYSTEM VALUE VALUES (%(id)s, %(book_id)s, 'wallet', %(id)s::text, 'CNY')
)
INSERT INTO balance (account_id, book_id, normal, currency_code)
VALUES (%(id)s, %(book_id)s, 1, 'CNY')
"""
_TRANSFER = """
SELECT FROM post(
    %(book_id)s, ARRAY[gen_random_uuid()], ARRAY[%(debit)s::bigint], ARRAY[%(credit)s::bigint],
    ARRAY[1000000000000000::bigint], ARRAY[1::smallint], ARRAY[1024::smallint])
"""


async def noted(desk):
    """Return the dates that are in files, and how far the book is."""
    days = [date for (date,) in await all_of(desk, "SELECT acct_date FROM history_day ORDER BY 1")]
    [(block,)] = await all_of(desk, "SELECT history_block FROM book")
    return days, block


async def test_the_files_say_what_the_tables_say(desk):
    """Row by row, in their order, a day a call and the oldest first."""
    days = await old_days(desk)

    assert [(await keep_history(desk)).acct_date for _ in days] == days

    assert await keep_history(desk) is None
    for day in days:
        for table in COLUMNS:
            rows = of_file(desk, table, day)
            assert rows == await of_table(desk, table, day)
            assert len(rows) > 2
    [(head,)] = await all_of(desk, "SELECT head_block FROM book")
    assert await noted(desk) == (days, head)


async def test_a_day_is_written_in_pieces(desk, monkeypatch):
    """However few transfers a piece has, a block is whole and nothing is lost between them."""
    [day] = await old_days(desk, count=1)
    monkeypatch.setattr("ledger.flow.keep_history._PIECE_TRANSFERS", 1)

    kept = await keep_history(desk)

    for table in COLUMNS:
        assert of_file(desk, table, day) == await of_table(desk, table, day)
    assert (kept.transfers, kept.vouchers) == (
        len(of_file(desk, "transfer", day)),
        len(of_file(desk, "voucher", day)),
    )


async def test_any_text_comes_back_as_it_was(desk):
    """Quotes, backslashes, ends of lines, characters of all planes; and no vouchers at all."""
    await open_all(desk)
    odd = 'a "quoted" \\ back\nslash\t\x01 \u2028 \u00e9 \u5de5 \U0001f4b0'
    events = [posting("RECHARGED", trace_no=trace) for trace in (odd, "MALL-2", "", "\U0010ffff")]
    assert await booked(desk, *events) == ["posted"] * 4
    texts = await closed_day(desk)
    [(debit, credit)] = await all_of(desk, "SELECT debit_id, credit_id FROM transfer LIMIT 1")
    await desk.db.rows(_TRANSFER, book_id=BOOK, debit=debit, credit=credit)
    bare = await closed_day(desk)
    await desk.clock.advance(desk.db, timedelta(days=100))
    assert await keep_history(desk)
    assert await keep_history(desk)

    for day in (texts, bare):
        for table in COLUMNS:
            assert of_file(desk, table, day) == await of_table(desk, table, day)
    assert len(of_file(desk, "transfer", bare)) == 1
    assert of_file(desk, "voucher", bare) == []


async def test_a_day_stays_until_it_is_closed_and_old_enough(desk):
    """Cut is not closed; and an old day waits for the one before it."""
    await open_all(desk)
    assert await booked(desk, posting("COLLECTED")) == ["posted"]
    first = await next_day(desk)
    await desk.clock.advance(desk.db, timedelta(days=desk.keep_entry_days - 1))
    assert await keep_history(desk) is None
    await next_day(desk)
    assert await keep_history(desk) is None

    await close_day(desk, book_id=BOOK, acct_date=first)
    assert (await keep_history(desk)).acct_date == first


async def test_a_young_day_stays(desk):
    """Exactly `keep_entry_days` after its date it goes, not a day before."""
    await open_all(desk)
    assert await booked(desk, posting("COLLECTED")) == ["posted"]
    day = await closed_day(desk)
    await desk.clock.advance(desk.db, timedelta(days=desk.keep_entry_days - 2))
    assert await keep_history(desk) is None
    await desk.clock.advance(desk.db, timedelta(days=1))
    assert (await keep_history(desk)).acct_date == day


async def test_days_without_entries_need_no_files(desk):
    """The day behind them is next."""
    await open_all(desk)
    await closed_day(desk)
    assert await booked(desk, posting("COLLECTED")) == ["posted"]
    day = await closed_day(desk)
    await closed_day(desk)
    await desk.clock.advance(desk.db, timedelta(days=100))

    assert (await keep_history(desk)).acct_date == day
    assert await keep_history(desk) is None


async def test_a_crash_before_it_is_noted_changes_nothing(desk):
    """The files are there and nobody relies on them; the next time they are the same bytes."""
    [day] = await old_days(desk, count=1)
    await desk.db.rows("""
        CREATE FUNCTION crash() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'crash'; END $$
    """)
    await desk.db.rows("""
        CREATE TRIGGER crash AFTER UPDATE OF history_block ON book
        FOR EACH ROW EXECUTE FUNCTION crash()
    """)
    with pytest.raises(Rejected):
        await keep_history(desk)
    assert await noted(desk) == ([], 0)
    paths = [
        file_of(desk.history.folder, book_id=BOOK, acct_date=day, table=table) for table in COLUMNS
    ]
    before = [sha256_of(path) for path in paths]
    paths[0].write_bytes(b"half a file")

    await desk.db.rows("DROP TRIGGER crash ON book")
    assert (await keep_history(desk)).acct_date == day

    assert [sha256_of(path) for path in paths] == before
    [row] = await desk.db.rows("SELECT transfer_sha256 FROM history_day")
    assert row.transfer_sha256.hex() == before[0]


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE transfer SET amount = amount + 1 WHERE seq = {seq}",
        "UPDATE transfer SET ref = txn WHERE seq = {seq}",
        "DELETE FROM transfer WHERE seq = {seq}",
    ],
)
async def test_what_is_read_back_must_be_what_the_database_gave(desk, sql):
    """What gets lost or changed on the way to the disk is found before anything is noted."""
    [day] = await old_days(desk, count=1)
    [due] = await store.due(desk.db, until=day)
    span = {"book_id": BOOK, "first": due.first_block, "last": due.last_block, "most": 1_000}
    good = await store.piece_of(desk.db, table="transfer", **span)
    [(seq,)] = await all_of(desk, "SELECT max(seq) FROM transfer")
    await desk.db.rows("ALTER TABLE transfer DISABLE TRIGGER append_only")
    await desk.db.rows(sql.format(seq=seq))
    bad = await store.piece_of(desk.db, table="transfer", **span)

    with drafting(desk.history.folder, book_id=BOOK, acct_date=day) as draft:
        draft.add("transfer", lines=bad.lines, rows=bad.rows, check=good.check)
        with pytest.raises(NotWritten, match="what is read back is not"):
            draft.finish("transfer")


async def test_blocks_that_miss_entries_are_not_written(desk):
    """A day that was robbed of a row stays in the database, where the proof finds it."""
    await old_days(desk, count=1)
    await desk.db.rows("ALTER TABLE transfer DISABLE TRIGGER append_only")
    await desk.db.rows("DELETE FROM transfer WHERE seq = (SELECT max(seq) FROM transfer)")
    with pytest.raises(NotWritten, match="Prove the book"):
        await keep_history(desk)
    assert await noted(desk) == ([], 0)


async def test_a_book_that_is_stuck_keeps_no_other(desk):
    """Its problem is told when the others have nothing to write."""
    await old_days(desk, count=1)
    book_id = await create_book(desk, "second")
    for account_id in (901, 902):
        await desk.db.rows(_ACCOUNT, book_id=book_id, id=account_id)
    await desk.db.rows(_TRANSFER, book_id=book_id, debit=901, credit=902)
    await desk.clock.advance(desk.db, timedelta(days=100))
    await turn_days(desk)
    await desk.db.rows("ALTER TABLE transfer DISABLE TRIGGER append_only")
    await desk.db.rows("DELETE FROM transfer WHERE book_id = 1 AND seq = 8193")

    kept = await keep_history(desk)

    assert (kept.book_id, kept.transfers, kept.vouchers) == (book_id, 1, 0)
    with pytest.raises(NotWritten, match="of book 1 say"):
        await keep_history(desk)


async def test_two_processes_write_a_day_once(desk):
    """One writes, the other one finds nothing to do, now or when it looks again."""
    days = await old_days(desk)
    while any(await asyncio.gather(*(keep_history(desk) for _ in range(3)))):
        pass
    assert (await noted(desk))[0] == days
    for day in days:
        assert of_file(desk, "transfer", day) == await of_table(desk, "transfer", day)


async def test_what_is_in_files_stays_noted(desk):
    """Nobody takes it back, not even the owner of the tables."""
    await old_days(desk, count=1)
    assert await keep_history(desk)
    for sql in (
        "UPDATE book SET history_block = 0",
        "DELETE FROM history_day",
        "UPDATE history_day SET transfers = 1",
        "TRUNCATE history_day",
    ):
        with pytest.raises(Rejected):
            await desk.db.rows(sql)
