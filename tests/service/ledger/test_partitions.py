"""The partitions of journal and vouchers are there before their week is, without a gap."""

from datetime import timedelta

import pytest

from ledger.store import partition
from mesh.batch import Rejected
from mesh.numbers import Kind
from mesh.upkeep import horizons
from tests.service.ledger.events import NUMBERS, booked, open_all, posting

WEEKS = """
SELECT to_date(right(child.relname, 8), 'YYYYMMDD') AS monday FROM pg_inherits
JOIN pg_class child ON child.oid = inhrelid JOIN pg_class parent ON parent.oid = inhparent
WHERE parent.relname = %(parent)s AND child.relname ~ '_[0-9]{8}$'
ORDER BY 1
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
    assert await partition.make(desk.db) == 0

    await shift(desk, "140 days")

    assert await partition.make(desk.db) == 40
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
    assert await partition.find_stray(desk.db) is None


async def test_a_stray_row_is_found(desk):
    """It closes its week, so somebody must be told."""
    await open_all(desk)
    await shift(desk, "1 year")
    [row] = await desk.db.rows("SELECT to_char(business_now(), 'YYYYMMDD') AS date")
    number = row.date + NUMBERS.next(Kind.PAYMENT)[8:]
    assert await booked(desk, posting("COLLECTED", source_no=number)) == ["posted"]

    assert await partition.find_stray(desk.db) is not None
    with pytest.raises(Rejected, match="default partition"):
        await partition.make(desk.db)
