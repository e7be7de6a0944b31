"""Durable timers: a row that is due is looked at, by one replica, until it is not due."""

import asyncio

import psycopg
import pytest

from mesh.batch import NotExecuted
from mesh.context import acting
from mesh.due import LEASE_SECONDS, Due
from tests.mesh.toy import SCHEMA, Script, playing
from tests.waiting import eventually

TABLE = """
CREATE TABLE alarm (
    alarm_no text PRIMARY KEY, app_id text NOT NULL, trace_no text NOT NULL, due_time timestamptz
);
CREATE INDEX alarm_due ON alarm (due_time) WHERE due_time IS NOT NULL
"""
ADD = """
INSERT INTO alarm SELECT %(name)s || n, 'mall', 'MALL-' || n, business_now() + %(after)s::interval
FROM generate_series(1, %(count)s) n
"""
LEFT = "SELECT count(*) FROM alarm WHERE due_time IS NOT NULL"


@pytest.fixture
def dsn(database):
    """A schema with a table of alarms."""
    dsn = database("channel", folder=SCHEMA)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(TABLE)
    return dsn


def due(handle):
    """Alarms, looked at by `handle`."""
    return Due(
        name="alarm",
        table="alarm",
        key="alarm_no",
        columns=["alarm_no", "app_id", "trace_no"],
        handle=handle,
    )


async def finish(toy, row):
    await toy.runtime.db.rows(
        "UPDATE alarm SET due_time = NULL WHERE alarm_no = %(alarm_no)s", alarm_no=row.alarm_no
    )


async def test_each_due_row_is_handled_by_one_of_two_replicas(ground, database, dsn):
    """More rows than one take; what is not due yet is left alone."""
    handled = []

    async def handle(_, row):
        handled.append((row.alarm_no, acting().app_id, acting().trace_no))
        await finish(one, row)

    scripts = [Script(due=[due(handle)]) for _ in range(2)]
    async with (
        playing(ground, database, scripts[0], database_dsn=dsn) as one,
        playing(ground, database, scripts[1], database_dsn=dsn, replica=1),
    ):
        one.rows(ADD, name="b", count=1, after="1 hour")
        one.rows(ADD, name="a", count=300, after="0")
        await eventually(lambda: one.rows(LEFT) == [(1,)])
    assert sorted(handled) == sorted((f"a{n}", "mall", f"MALL-{n}") for n in range(1, 301))


async def test_business_time_makes_rows_due(ground, database, dsn):
    """Shifting the clock is enough: nobody need be told."""
    handled = asyncio.Event()

    async def handle(_, row):
        await finish(toy, row)
        handled.set()

    async with playing(ground, database, Script(due=[due(handle)]), database_dsn=dsn) as toy:
        toy.rows(ADD, name="a", count=1, after="1 hour")
        await toy.shift("1 hour")
        async with asyncio.timeout(10):
            await handled.wait()


@pytest.mark.parametrize("error", [NotExecuted("not now"), ValueError("a bug")])
async def test_a_row_whose_flow_failed_is_due_again_when_its_lease_is_over(
    ground, database, dsn, error
):
    """Others are handled meanwhile; the failed one not before its time."""
    tries = []

    async def handle(_, row):
        tries.append(row.alarm_no)
        if tries.count("bad1") == 1 and row.alarm_no == "bad1":
            raise error
        await finish(toy, row)

    async with playing(ground, database, Script(due=[due(handle)]), database_dsn=dsn) as toy:
        toy.rows(ADD, name="bad", count=1, after="0")
        await eventually(lambda: tries == ["bad1"])
        toy.rows(ADD, name="good", count=1, after="0")
        await eventually(lambda: tries == ["bad1", "good1"])
        await eventually(lambda: toy.rows(LEFT) == [(1,)])
        await toy.shift(f"{LEASE_SECONDS} seconds")
        await eventually(lambda: tries == ["bad1", "good1", "bad1"])
        await eventually(lambda: toy.rows(LEFT) == [(0,)])
