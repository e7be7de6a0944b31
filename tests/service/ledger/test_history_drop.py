"""Weeks of the journal leave the database when all of them is in files, and nothing is booked
twice for that."""

import asyncio
import os
import uuid
from datetime import date, timedelta

import psycopg
import pytest

from ledger.flow.create_book import create_book
from ledger.flow.drop_partitions import drop_partitions
from ledger.flow.forbid import forbid
from ledger.flow.get_trial_balance import get_trial_balance
from ledger.flow.keep_history import keep_history
from ledger.flow.list_trace_entries import list_trace_entries
from ledger.history.files import HistoryError, file_of
from ledger.store import history as store
from mesh.batch import NotExecuted, Rejected
from mesh.errors import Refused
from mesh.numbers import Kind, Numbers
from mesh.upkeep import make_partitions
from tests.service.ledger.books import BLUE, BOOK, connect, waiting
from tests.service.ledger.days import all_of, closed_day
from tests.service.ledger.events import NUMBERS, booked, open_all, posting, standing
from tests.service.ledger.history import OLD, old_days, strays

_POST = """
SELECT o_result FROM post(
    1, ARRAY[%(id)s::uuid], ARRAY[%(debit)s::bigint], ARRAY[%(credit)s::bigint], ARRAY[7::bigint],
    ARRAY[1::smallint], ARRAY[%(flags)s::smallint], p_ref => ARRAY[%(ref)s::uuid])
"""


async def kept(desk):
    """Write everything that is old enough."""
    while await keep_history(desk):
        pass


async def dropped(desk):
    """Drop all that may go; return the Mondays."""
    mondays = []
    while monday := await drop_partitions(desk):
        mondays.append(monday)
    return mondays


async def rows_left(desk):
    [(transfers, vouchers)] = await all_of(
        desk, "SELECT (SELECT count(*) FROM transfer) AS t, (SELECT count(*) FROM voucher) AS v"
    )
    return transfers, vouchers


async def floor(desk):
    return await store.id_floor(desk.db, book_id=BOOK)


async def test_a_week_goes_when_all_of_it_is_in_files(desk):
    """Weeks that are empty go at once, the one with rows when they are in files."""
    await old_days(desk, count=1)
    assert await make_partitions(desk.db) > 0
    assert await rows_left(desk) == (6, 3)
    empty = await dropped(desk)
    assert 5 <= len(empty) <= 6
    assert await drop_partitions(desk) is None

    await kept(desk)
    mondays = await dropped(desk)

    assert await rows_left(desk) == (0, 0)
    assert empty + mondays == [
        empty[0] + timedelta(days=7 * nth) for nth in range(len(empty + mondays))
    ]
    today = desk.clock.now().date()
    assert today - mondays[-1] >= timedelta(days=desk.keep_entry_days + 7)
    assert today - mondays[-1] < timedelta(days=desk.keep_entry_days + 14)


async def test_a_week_stays_while_it_is_young(desk):
    """Also when all of it is in files already."""
    await old_days(desk, count=1)
    await kept(desk)
    monday = await store.oldest_week(desk.db)
    later = monday
    while later + timedelta(days=7) <= desk.clock.now().date() - timedelta(days=36):
        later += timedelta(days=7)
    with pytest.raises(Rejected, match="not to go yet"):
        await store.drop_week(desk.db, later)
    assert await rows_left(desk) == (6, 3)


async def test_a_late_row_keeps_its_week(desk):
    """Booked under an old number on a day that is young: its week waits for that day."""
    await old_days(desk, count=1)
    await make_partitions(desk.db)
    late = NUMBERS.next(Kind.PAYMENT)
    assert await booked(desk, posting("COLLECTED", source_no=late)) == ["posted"]
    await kept(desk)
    await dropped(desk)
    assert await store.problem_of_week(desk.db, await store.oldest_week(desk.db))
    assert await rows_left(desk) == (9, 4)


@pytest.mark.parametrize("harm", ["gone", "changed"])
async def test_nothing_is_dropped_whose_file_is_not_whole(desk, harm):
    """The database has the last copy then, and keeps it."""
    [day] = await old_days(desk, count=1)
    await kept(desk)
    path = file_of(desk.history.folder, book_id=BOOK, acct_date=day, table="voucher")
    good = path.read_bytes()
    if harm == "gone":
        path.unlink()
    else:
        path.write_bytes(good[:-1] + b"?")
    with pytest.raises(HistoryError, match="Restore the file from its copy"):
        await dropped(desk)
    assert await rows_left(desk) == (6, 3)

    path.write_bytes(good)
    assert await dropped(desk)
    assert await rows_left(desk) == (0, 0)


async def test_a_file_is_read_once_more_however_it_looks(desk):
    """Somebody has read it when it was whole; it was changed since, and its times set back."""
    [day] = await old_days(desk, count=1)
    await kept(desk)
    await list_trace_entries(desk, app_id="mall", trace_no="MALL-0")
    path = file_of(desk.history.folder, book_id=BOOK, acct_date=day, table="voucher")
    good, looks = path.read_bytes(), path.stat()
    path.write_bytes(good[:-1] + b"?")
    os.utime(path, ns=(looks.st_atime_ns, looks.st_mtime_ns))
    with pytest.raises(HistoryError, match="SHA-256"):
        await dropped(desk)
    assert await rows_left(desk) == (6, 3)


async def test_balances_stay_what_they_were(desk):
    """They do not come from the journal; nor does the trial balance."""
    await old_days(desk)
    before = (await standing(desk), await get_trial_balance(desk))
    await kept(desk)
    assert await dropped(desk)
    assert await rows_left(desk) == (0, 0)

    assert (await standing(desk), await get_trial_balance(desk)) == before
    await make_partitions(desk.db)
    assert await booked(desk, posting("COLLECTED", source_no=young(desk))) == ["posted"]
    assert (await standing(desk)) != before[0]


def young(desk):
    """A number of today."""
    return Numbers(desk.clock, node=1, lease=0).next(Kind.PAYMENT)


async def test_an_old_event_is_not_booked_again(desk):
    """What was booked is in files and EXISTS, with other facts it differs; a young one is told
    by the database."""
    await open_all(desk)
    old = posting("COLLECTED")
    assert await booked(desk, old) == ["posted"]
    await closed_day(desk)
    await desk.clock.advance(desk.db, OLD)
    await kept(desk)
    assert await dropped(desk)
    await make_partitions(desk.db)
    assert await rows_left(desk) == (0, 0)
    before = await standing(desk)

    assert await booked(desk, old) == ["exists"]
    other = posting("COLLECTED", source_no=old.source_no, amount_minor=9_999)
    assert await booked(desk, other) == ["refused EXISTS_WITH_DIFFERENT_FIELDS"]
    assert await forbid(desk, old)
    assert await standing(desk) == before
    fresh = posting("COLLECTED", source_no=young(desk))
    assert await booked(desk, fresh, fresh) == ["posted", "exists"]


async def test_an_old_event_that_never_came_is_booked_late(desk):
    """It lies beside the weeks, once, and goes on being told from there when more weeks go."""
    await old_days(desk, count=1)
    await kept(desk)
    assert await dropped(desk)
    await make_partitions(desk.db)
    late = posting("COLLECTED", source_no=NUMBERS.next(Kind.PAYMENT))

    assert await booked(desk, late, late) == ["posted", "exists"]

    sql = "SELECT count(*) FROM {}_late"
    assert [await all_of(desk, sql.format(table)) for table in ("transfer", "voucher")] == [
        [(3,)],
        [(1,)],
    ]
    assert not await strays(desk)
    [row] = await desk.db.rows("SELECT count(*) AS sent FROM outbox")
    assert row.sent == 4
    await closed_day(desk)
    await desk.clock.advance(desk.db, OLD)
    await kept(desk)
    assert await dropped(desk)
    assert await booked(desk, late) == ["exists"]
    assert await rows_left(desk) == (3, 1)


async def test_an_old_event_that_never_came_can_be_forbidden(desk):
    """And stays so."""
    await old_days(desk, count=1)
    await kept(desk)
    assert await dropped(desk)
    late = posting("COLLECTED", source_no=NUMBERS.next(Kind.PAYMENT))
    assert not await forbid(desk, late)
    assert await booked(desk, late) == ["refused FORBIDDEN"]


async def test_without_the_files_nothing_old_is_booked(desk):
    """Nobody can say whether it was."""
    [day] = await old_days(desk, count=1)
    await kept(desk)
    assert await dropped(desk)
    path = file_of(desk.history.folder, book_id=BOOK, acct_date=day, table="transfer")
    path.unlink()
    late = posting("COLLECTED", source_no=NUMBERS.next(Kind.PAYMENT))
    with pytest.raises(Refused) as refused:
        await booked(desk, late)
    assert refused.value.reason == "HISTORY_MISSING"
    assert await rows_left(desk) == (0, 0)


async def test_transfers_below_the_floor_are_too_old(desk):
    """By their own id, or by that of what they reverse; it is not remembered."""
    await old_days(desk, count=1)
    [(old, debit, credit)] = await all_of(
        desk, "SELECT id, debit_id, credit_id FROM transfer ORDER BY seq LIMIT 1"
    )
    await kept(desk)
    assert await dropped(desk)
    below = uuid.UUID(int=(await floor(desk)).int - 1)
    at = await floor(desk)
    sides = {"debit": debit, "credit": credit}

    async def results(one, flags=0, ref=None):
        [row] = await desk.db.rows(_POST, id=one, flags=flags, ref=ref, **sides)
        return row.o_result

    assert await results(below) == [5]
    assert await results(at, flags=BLUE, ref=old) == [5]
    assert await all_of(desk, "SELECT id FROM reject") == []
    assert await results(at) == [0]
    assert await results(at) == [1]


async def test_a_book_that_is_new_begins_at_the_floor(desk):
    """It shares the weeks that are left."""
    await old_days(desk, count=1)
    await kept(desk)
    await dropped(desk)
    book_id = await create_book(desk, "second")
    assert await store.id_floor(desk.db, book_id=book_id) == await floor(desk)


async def test_posting_goes_on_while_somebody_reads(desk, dsn):
    """Whoever reads the journal for long keeps a week from going, and nobody from booking."""
    await old_days(desk, count=1)
    await kept(desk)
    await make_partitions(desk.db)
    with psycopg.connect(dsn) as reader:
        reader.execute("SELECT count(*) FROM transfer")
        drop = asyncio.create_task(drop_partitions(desk))
        waits = asyncio.create_task(booked(desk, posting("COLLECTED", source_no=young(desk))))
        with pytest.raises(NotExecuted, match="lock timeout"):
            await drop
        assert await waits == ["posted"]
    assert await rows_left(desk) == (9, 4)
    assert await dropped(desk)
    assert await rows_left(desk) == (3, 1)


async def test_posting_goes_on_while_weeks_go(desk):
    """No call fails, none is lost."""
    await old_days(desk, count=1)
    await kept(desk)
    await make_partitions(desk.db)
    numbers = Numbers(desk.clock, node=1, lease=0)
    stop = asyncio.Event()
    told = []

    async def book():
        while not stop.is_set() or len(told) < 20:
            one = posting("COLLECTED", source_no=numbers.next(Kind.PAYMENT))
            told.extend(await booked(desk, one))

    work = [asyncio.create_task(book()) for _ in range(4)]
    mondays = await dropped(desk)
    stop.set()
    await asyncio.gather(*work)

    assert len(mondays) > 5
    assert set(told) == {"posted"}
    assert await rows_left(desk) == (3 * len(told), len(told))


async def test_two_processes_drop_a_week_once(desk):
    """Whoever comes second finds it gone."""
    await old_days(desk, count=1)
    await kept(desk)
    first: date = await store.oldest_week(desk.db)
    assert await asyncio.gather(*(store.drop_week(desk.db, first) for _ in range(3))) == [""] * 3
    assert await store.oldest_week(desk.db) == first + timedelta(days=7)


async def test_what_was_posted_between_the_look_and_the_lock_keeps_its_week(desk, dsn):
    """The condition is looked at once more when nobody can post any more."""
    await old_days(desk, count=1)
    await kept(desk)
    while await store.oldest_week(desk.db) + timedelta(days=7) <= desk.clock.now().date() - OLD:
        assert await drop_partitions(desk)
    monday = await store.oldest_week(desk.db)
    late = posting("COLLECTED", source_no=NUMBERS.next(Kind.PAYMENT))
    await desk.db.rows("ALTER FUNCTION drop_week(date) SET lock_timeout = '20s'")
    with connect(dsn) as holder, holder.transaction():
        holder.execute("SELECT FROM book FOR NO KEY UPDATE")
        books = asyncio.create_task(booked(desk, late))
        await waiting(dsn, 1)
        drop = asyncio.create_task(store.drop_week(desk.db, monday))
        await waiting(dsn, 2)
    assert await books == ["posted"]
    assert "not in files" in await drop
    assert await rows_left(desk) == (9, 4)
