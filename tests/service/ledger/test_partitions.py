"""The partitions of journal and vouchers are there before their month is."""

import pytest

from ledger.store import partition
from mesh.batch import Rejected
from mesh.numbers import Kind
from tests.service.ledger.events import NUMBERS, booked, open_all, posting

MONTHS = """
SELECT child.relname AS name FROM pg_inherits
JOIN pg_class child ON child.oid = inhrelid JOIN pg_class parent ON parent.oid = inhparent
WHERE parent.relname = %(parent)s AND child.relname NOT LIKE '%%default'
ORDER BY 1
"""


async def months(desk, parent):
    """Return the months that have a partition."""
    rows = await desk.db.rows(MONTHS, parent=parent)
    return [row.name.removeprefix(f"{parent}_") for row in rows]


async def shift(desk, by):
    await desk.db.rows("UPDATE clock SET shift = shift + %(by)s::interval", by=by)


async def test_months_are_made_ahead_and_once(desk):
    """Two months ago to three to come; more when time goes on."""
    before = await months(desk, "transfer")
    assert len(before) == 6
    assert before == await months(desk, "voucher")
    assert await partition.make(desk.db) == 0

    await shift(desk, "1 month")

    assert await partition.make(desk.db) == 2
    assert len(await months(desk, "transfer")) == 7
    assert await months(desk, "transfer") == await months(desk, "voucher")


@pytest.mark.parametrize("day", ["01", "28"])
async def test_rows_lie_in_the_month_of_their_order(desk, day):
    """The number's own date decides, from the first of a month to its last."""
    await open_all(desk)
    for month in await months(desk, "transfer"):
        number = month + day + NUMBERS.next(Kind.PAYMENT)[8:]
        assert await booked(desk, posting("COLLECTED", source_no=number)) == ["posted"]

        for table, column in (("transfer", "txn"), ("voucher", "txn")):
            sql = f"""
                SELECT tableoid::regclass::text AS part FROM {table}
                WHERE {column} = (SELECT txn FROM voucher WHERE source_no = %(number)s) LIMIT 1
            """
            [row] = await desk.db.rows(sql, number=number)
            assert row.part == f"{table}_{month}"
    assert await partition.find_stray(desk.db) is None


async def test_a_stray_row_is_found(desk):
    """It closes its month, so somebody must be told."""
    await open_all(desk)
    await shift(desk, "1 year")
    [row] = await desk.db.rows("SELECT to_char(business_now(), 'YYYYMM15') AS date")
    number = row.date + NUMBERS.next(Kind.PAYMENT)[8:]
    assert await booked(desk, posting("COLLECTED", source_no=number)) == ["posted"]

    assert await partition.find_stray(desk.db) is not None
    with pytest.raises(Rejected, match="default partition"):
        await partition.make(desk.db)
