"""Partitions are there before their rows, and what is too old goes, bit by bit."""

import asyncio

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from mesh.batch import Rejected
from mesh.config import load
from mesh.db import Database
from mesh.upkeep import Kept, common_rows, delete_old, horizons, keep_up, make_partitions
from tests.mesh.toy import SCHEMA
from tests.waiting import eventually

WIDE = """
CREATE TABLE wide (number text COLLATE "C" PRIMARY KEY, note text) PARTITION BY RANGE (number);
SELECT make_partitions('wide', extract(year FROM business_now())::integer, 1);
"""


@pytest.fixture
async def db(database):
    """What every schema has, and a partitioned table made for this year only."""
    async with Database(database("channel", folder=SCHEMA), connections_max=1) as opened:
        for statement in WIDE.split(";")[:2]:
            await opened.rows(statement)
        yield opened


async def partition_names(db):
    rows = await db.rows("SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r'")
    return sorted(row.relname for row in rows)


async def year(db):
    [row] = await db.rows("SELECT extract(year FROM business_now())::integer AS year")
    return row.year


async def test_partitions_of_the_months_to_come_are_made_once(db):
    """As many years as the months reach into; the second time there is nothing to do."""
    this = await year(db)
    assert await make_partitions(db, months=24) == 2
    assert await make_partitions(db, months=24) == 0
    years = [f"wide_{one}" for one in range(this, this + 3)]
    assert await partition_names(db) == [*years, "wide_default"]
    [wide] = await horizons(db)
    assert (wide.name, wide.strays) == ("wide", False)
    assert wide.days >= 2 * 365


async def test_business_time_decides_which_year_it_is(db):
    """A test clock that runs ahead takes its partitions along."""
    this = await year(db)
    await db.rows("UPDATE clock SET shift = interval '3 years'")
    [wide] = await horizons(db)
    assert wide.days == 0
    assert await make_partitions(db, months=0) == 1
    assert f"wide_{this + 3}" in await partition_names(db)
    [wide] = await horizons(db)
    assert 0 <= wide.days <= 366


async def test_a_gap_ends_what_is_covered(db):
    """Partitions beyond a year without one are of no use to the year."""
    this = await year(db)
    await db.rows(f"SELECT make_partitions('wide', {this + 2}, 1)")
    [wide] = await horizons(db)
    assert wide.days <= 366


async def test_rows_in_the_default_partition_are_told_and_keep_theirs_from_being_made(db):
    """Nothing is moved or lost by itself."""
    this = await year(db)
    await db.rows("INSERT INTO wide VALUES (%(number)s)", number=f"{this + 1}0101TR")
    [wide] = await horizons(db)
    assert wide.strays
    with pytest.raises(Rejected):
        await make_partitions(db, months=12)


@pytest.mark.parametrize(
    ("bound", "moment"),
    [
        ("2026", "2026-01-01"),
        ("202603", "2026-03-01"),
        ("20260315", "2026-03-15"),
        ("019b76da-a800-0000-0000-000000000000", "2026-01-01"),
    ],
)
async def test_bounds_of_every_kind_are_understood(db, bound, moment):
    """A year, a month, a day of a number; the time of a UUIDv7."""
    sql = "SELECT (partition_moment(%(bound)s) AT TIME ZONE 'UTC')::date::text AS at"
    [row] = await db.rows(sql, bound=bound)
    assert row.at == moment


async def test_old_rows_go_in_several_statements_and_young_ones_stay(db, monkeypatch):
    """What is not yet published stays however old it is."""
    monkeypatch.setattr("mesh.upkeep.ROWS_MAX", 3)
    monkeypatch.setattr("mesh.upkeep._BETWEEN_SECONDS", 0)
    old, young = "now() - interval '8 days'", "now() - interval '6 days'"
    for at, sequence, count in ((old, 1, 7), (young, 1, 2), (old, "NULL::bigint", 1)):
        await db.rows(
            f"INSERT INTO outbox (events, sequence, create_time)"
            f" SELECT '', {sequence}, {at} FROM generate_series(1, {count})"
        )
    kept = Kept(table="outbox", key="outbox_id", days=7, when="sequence IS NOT NULL")
    assert await delete_old(db, [kept]) == {"outbox": 7}
    assert await delete_old(db, [kept]) == {"outbox": 0}
    week_old = "create_time < now() - interval '7 days'"
    sql = f"SELECT count(*) FILTER (WHERE {week_old}) AS old, count(*) AS rows FROM outbox"
    [left] = await db.rows(sql)
    assert (left.old, left.rows) == (1, 3)


async def test_a_key_of_two_columns_and_business_time(db):
    """The inbox is keyed by consumer and batch; some rows age by the business clock."""
    await db.rows("INSERT INTO inbox (consumer, batch_id) VALUES ('a', '1'), ('b', '1')")
    kept = Kept(table="inbox", key="consumer, batch_id", days=30, now="business_now()")
    assert await delete_old(db, [kept]) == {"inbox": 0}
    await db.rows("UPDATE clock SET shift = interval '31 days'")
    assert await delete_old(db, [kept]) == {"inbox": 2}


async def test_a_running_service_does_so_by_itself(ground, database):
    """Also channel's raw callbacks, by the business clock."""
    dsn = database("channel")
    async with Database(dsn, connections_max=1) as db:
        await db.rows(
            "INSERT INTO callback (channel_code, attempt_no, body, headers, dedup_key, verdict,"
            " create_time) VALUES ('sim-a', 'a', '', '{}', 'old', 'moved',"
            " business_now() - interval '181 days'), ('sim-a', 'a', '', '{}', 'new', 'moved',"
            " business_now() - interval '179 days')"
        )
        await db.rows("DROP TABLE attempt_2027")
    async with ground.run("channel", database_dsn=dsn) as channel:
        await eventually(lambda: channel.rows("SELECT to_regclass('attempt_2027')::text")[0][0])
        await eventually(lambda: channel.rows("SELECT dedup_key FROM callback") == [("new",)])


async def test_a_running_service_keeps_what_is_not_published(db):
    """However old it is: it is the only copy."""
    await db.rows(
        "INSERT INTO outbox (events, sequence, create_time) SELECT '', sequence,"
        " now() - interval '9 days' FROM (VALUES (NULL::bigint), (1)) AS v (sequence)"
    )
    await delete_old(db, common_rows(load()))
    [left] = await db.rows("SELECT count(*) AS rows, count(sequence) AS published FROM outbox")
    assert (left.rows, left.published) == (1, 0)


async def upkeep(db):
    """Let everything be done once; return what the log says, and whether the metric alerts."""
    await db.rows(
        "INSERT INTO outbox (events, sequence, create_time)"
        " VALUES ('', 1, now() - interval '9 days')"
    )
    with capture_logs() as lines:
        work = asyncio.create_task(keep_up(db, common_rows(load())))
        await eventually(lambda: lines and lines[-1]["event"] == "old_rows_deleted")
        work.cancel()
    stuck = REGISTRY.get_sample_value("tongbao_partitions_not_made")
    return [one["event"] for one in lines], bool(stuck)


async def test_partitions_that_are_not_made_are_told_and_what_is_old_goes_all_the_same(db):
    """Here rows lie where those of the next year should; later they are gone."""
    await db.rows("INSERT INTO wide VALUES (%(number)s)", number=f"{await year(db) + 1}0101TR")
    assert await upkeep(db) == (
        ["partitions_not_made", "rows_without_partition", "old_rows_deleted"],
        True,
    )
    await db.rows("DELETE FROM wide")
    assert await upkeep(db) == (["partitions_made", "old_rows_deleted"], False)


async def test_a_database_that_is_away_does_not_end_it(db, monkeypatch):
    """What could not be done is tried again."""
    monkeypatch.setattr("mesh.upkeep._SECONDS", 0)
    tries = []

    async def asked(*_, **__):
        tries.append(1)
        if len(tries) == 3:
            raise asyncio.CancelledError
        raise Rejected("not now")

    monkeypatch.setattr("mesh.upkeep.make_partitions", asked)
    with pytest.raises(asyncio.CancelledError):
        await keep_up(db, [])
    assert len(tries) == 3
