"""The partitions of journal and vouchers are there before their week is, without a gap."""

import asyncio
import json
import subprocess
import sys
from datetime import timedelta

import psycopg
import pytest

from ledger.flow.drop_partitions import drop_partitions
from ledger.flow.keep_history import keep_history
from ledger.flow.turn_days import turn_days
from ledger.store import history
from mesh.batch import NotExecuted, Rejected
from mesh.config import load
from mesh.doctor import Verdict
from mesh.doctor.databases import schemas
from mesh.doctor.finding import Scene
from mesh.numbers import Kind
from mesh.upkeep import horizons, make_partitions
from tests.mesh.test_upkeep import upkeep
from tests.service.ledger.books import BOOK, connect, waiting
from tests.service.ledger.days import all_of, closed_day
from tests.service.ledger.events import NUMBERS, booked, open_all, posting
from tests.service.ledger.history import strays

WEEKS = """
SELECT to_date(right(child.relname, 8), 'YYYYMMDD') AS monday FROM pg_inherits
JOIN pg_class child ON child.oid = inhrelid JOIN pg_class parent ON parent.oid = inhparent
WHERE parent.relname = %(parent)s AND child.relname ~ '_[0-9]{8}$'
ORDER BY 1
"""
BOUNDS = r"""
SELECT c.relname AS name, (partition_moment(b[1]) AT TIME ZONE 'UTC')::date AS begins,
       (partition_moment(b[2]) AT TIME ZONE 'UTC')::date AS ends
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid,
    regexp_match(pg_get_expr(c.relpartbound, c.oid), $re$FROM \('(.+)'\) TO \('(.+)'\)$re$) b
WHERE i.inhparent = %(parent)s::regclass AND b IS NOT NULL ORDER BY 2
"""
_WEEK = timedelta(days=7)


async def weeks(desk, parent):
    """Return the Mondays of the weeks that have a partition."""
    return [row.monday for row in await desk.db.rows(WEEKS, parent=parent)]


async def shift(desk, by):
    await desk.db.rows("UPDATE clock SET shift = shift + %(by)s::interval", by=by)


async def today(desk):
    [row] = await desk.db.rows("SELECT (business_now() AT TIME ZONE 'UTC')::date AS today")
    return row.today


async def test_weeks_are_made_ahead_and_once(desk):
    """That of 36 days ago to five to come; more when time goes on, and none is left out."""
    before = await weeks(desk, "transfer")
    now = await today(desk)
    assert {monday.weekday() for monday in before} == {0}
    assert before[0] <= now - timedelta(days=36) < before[0] + _WEEK
    assert before[-1] <= now + 5 * _WEEK < before[-1] + _WEEK
    assert before == [before[0] + nth * _WEEK for nth in range(len(before))]
    assert before == await weeks(desk, "voucher")
    assert await make_partitions(desk.db) == 0

    await shift(desk, "140 days")

    assert await make_partitions(desk.db) == 40
    after = await weeks(desk, "transfer")
    assert after == [before[0] + nth * _WEEK for nth in range(len(before) + 20)]
    assert after == await weeks(desk, "voucher")


async def test_the_doctor_sees_how_far_they_reach(desk):
    """More than a month, whatever day of the week it is."""
    found = {one.name: one for one in await horizons(desk.db)}
    for table in ("transfer", "voucher"):
        assert 35 <= found[table].days <= 42
        assert not found[table].strays


@pytest.mark.parametrize("day", [0, 6])
async def test_rows_lie_in_the_week_of_their_order(desk, day):
    """The number's own date decides, from a Monday to a Sunday; what is older lies in `_late`."""
    await open_all(desk)
    mondays = await weeks(desk, "transfer")
    for monday in (mondays[0] - _WEEK, *mondays):
        date = monday + timedelta(days=day)
        number = f"{date:%Y%m%d}" + NUMBERS.next(Kind.PAYMENT)[8:]
        assert await booked(desk, posting("COLLECTED", source_no=number)) == ["posted"]

        name = f"{monday:%Y%m%d}" if monday in mondays else "late"
        for table, column in (("transfer", "txn"), ("voucher", "txn")):
            sql = f"""
                SELECT tableoid::regclass::text AS part FROM {table}
                WHERE {column} = (SELECT txn FROM voucher WHERE source_no = %(number)s) LIMIT 1
            """
            [row] = await desk.db.rows(sql, number=number)
            assert row.part == f"{table}_{name}"
    assert not await strays(desk)


async def stray(desk, *, jump="1 year"):
    """Book an order of a week that is not made yet; return its Monday."""
    await open_all(desk)
    await shift(desk, jump)
    [row] = await desk.db.rows("SELECT to_char(business_now(), 'YYYYMMDD') AS date")
    number = row.date + NUMBERS.next(Kind.PAYMENT)[8:]
    assert await booked(desk, posting("COLLECTED", source_no=number)) == ["posted"]
    assert await strays(desk)
    now = await today(desk)
    return now - timedelta(days=now.weekday())


async def bounds(desk, table):
    """Return from which to which day each partition of weeks reaches, by its name, in order."""
    rows = await desk.db.rows(BOUNDS, parent=table)
    return [(row.name, row.begins, row.ends) for row in rows]


async def test_rows_of_a_week_that_was_not_made_get_a_partition(desk):
    """What was the default one has all weeks up to theirs; those behind are made, again and
    again, and new rows lie in them."""
    last = (await weeks(desk, "transfer"))[-1]
    for jump in ("1 year", "63 days"):
        monday = await stray(desk, jump=jump)

        assert await make_partitions(desk.db) == 2 + 2 * 5

        for table in ("transfer", "voucher"):
            *_, wide, first, _, _, _, newest = await bounds(desk, table)
            assert wide == (f"{table}_{monday:%Y%m%d}", last + _WEEK, monday + _WEEK)
            assert first[1:] == (monday + _WEEK, monday + 2 * _WEEK)
            assert newest[1:] == (monday + 5 * _WEEK, monday + 6 * _WEEK)
        assert not await strays(desk)
        assert await make_partitions(desk.db) == 0
        last = newest[1]
    found = {one.name: one for one in await horizons(desk.db)}
    assert (35 <= found["transfer"].days <= 42, found["transfer"].strays) == (True, False)


@pytest.mark.parametrize("table", ["transfer", "voucher"])
async def test_a_partition_that_was_the_default_one_is_as_closed_as_others(desk, dsn, table):
    """So is the one that takes its place."""
    monday = await stray(desk)
    await make_partitions(desk.db)
    name = f"{table}_{monday:%Y%m%d}"
    with connect(dsn) as connection:
        for sql in (
            f"DELETE FROM {name}",
            f"UPDATE {name} SET book_id = 2",
            f"TRUNCATE {name}",
            f"TRUNCATE {table}_default",
        ):
            with pytest.raises(psycopg.errors.RestrictViolation):
                connection.execute(sql)


async def test_it_goes_when_the_last_of_its_weeks_may_go(desk):
    """Its rows are in files then; what is of its weeks and never came is booked late."""
    monday = await stray(desk)
    await desk.clock.refresh(desk.db)
    await make_partitions(desk.db)
    await turn_days(desk)
    await closed_day(desk)
    await shift(desk, "30 days")
    with pytest.raises(Rejected, match="not to go yet"):
        await history.drop_week(desk.db, monday)
    await shift(desk, "100 days")
    await desk.clock.refresh(desk.db)
    while await keep_history(desk):
        pass
    gone = []
    while week := await drop_partitions(desk):
        gone.append(week)
    assert monday in gone
    assert await all_of(desk, "SELECT count(*) FROM transfer") == [(0,)]
    floor = await history.id_floor(desk.db, book_id=BOOK)
    sql = "SELECT partition_moment(%(floor)s)::date"
    assert await all_of(desk, sql, floor=str(floor)) == [(gone[-1] + _WEEK,)]

    number = f"{monday - 3 * _WEEK:%Y%m%d}" + NUMBERS.next(Kind.PAYMENT)[8:]
    assert await booked(desk, posting("COLLECTED", source_no=number)) == ["posted"]
    assert await all_of(desk, "SELECT count(*) FROM voucher_late") == [(1,)]


async def test_a_row_of_a_far_week_is_left_until_its_week_comes(desk):
    """It is in nobody's way, and the weeks before it are dropped one by one."""
    await open_all(desk)
    date = await today(desk) + timedelta(days=200)
    number = f"{date:%Y%m%d}" + NUMBERS.next(Kind.PAYMENT)[8:]
    assert await booked(desk, posting("COLLECTED", source_no=number)) == ["posted"]
    await shift(desk, "70 days")
    assert await make_partitions(desk.db) == 20
    assert await strays(desk)


async def test_posting_goes_on_while_somebody_reads(desk, dsn):
    """Whoever reads the journal for long keeps rows where they are, and nobody from booking."""
    await stray(desk)
    with psycopg.connect(dsn) as reader:
        reader.execute("SELECT count(*) FROM transfer")
        making = asyncio.create_task(make_partitions(desk.db))
        books = asyncio.create_task(booked(desk, posting("COLLECTED")))
        with pytest.raises(NotExecuted, match="lock timeout"):
            await making
        assert await books == ["posted"]
    assert await make_partitions(desk.db) > 0
    assert not await strays(desk)


async def test_a_service_mends_first_and_tells_what_is_left(desk, dsn):
    """Nothing when all is well; not made, and of either table, while somebody reads for long."""
    await stray(desk)
    with psycopg.connect(dsn) as reader:
        reader.execute("SELECT count(*) FROM transfer")
        told = ["partitions_not_made", *["rows_without_partition"] * 2, "old_rows_deleted"]
        assert await upkeep(desk.db) == (told, True)
    assert await upkeep(desk.db) == (["partitions_made", "old_rows_deleted"], False)
    assert not await strays(desk)


async def test_two_makers_make_a_week_once(desk, dsn):
    """Whoever comes second waits, and finds them made."""
    await shift(desk, "140 days")
    with connect(dsn) as first, first.transaction():
        assert first.execute("SELECT make_week_partitions(5)").fetchone() == (40,)
        second = asyncio.create_task(make_partitions(desk.db))
        await waiting(dsn, 1)
    assert await second == 0


async def test_the_doctor_tells_of_such_rows_and_its_next_step_mends_it(desk, dsn, tmp_path):
    """Before it tells that there are too few weeks, which are made on the way."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "ledger.json").write_text(json.dumps({"database_dsn": dsn}))
    scene = Scene(settings=load(home=tmp_path), services=("ledger",), state={})
    await stray(desk)

    told = [one for one in await schemas(scene) if one.check == "partitions"]
    assert {one.verdict for one in told} == {Verdict.FAIL}
    assert [one.seen for one in told] == [
        f"ledger.{table}: rows lie in the default partition" for table in ("transfer", "voucher")
    ]
    assert told[0].next_step.startswith("Run `tongbao db partitions`")

    step = ["db", "partitions", "--service", "ledger", "--home", str(tmp_path)]
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-m", "mesh.cli", *step], capture_output=True, check=True
    )
    assert b"stray" not in done.stdout
    told = [one for one in await schemas(scene) if one.check == "partitions"]
    assert {one.verdict for one in told} == {Verdict.PASS}
