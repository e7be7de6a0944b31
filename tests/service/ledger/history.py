"""What the tests of days in files share: days that are old, rows of a file and of a table."""

from datetime import timedelta

import duckdb

from ledger.flow.turn_days import turn_days
from ledger.history.files import COLUMNS, file_of
from mesh.upkeep import horizons
from tests.service.ledger.books import BOOK
from tests.service.ledger.days import all_of, closed_day
from tests.service.ledger.events import booked, open_all, posting

OLD = timedelta(days=130)


async def old_days(desk, count=2):
    """Book and close some days, and let them grow old; return their dates."""
    await open_all(desk)
    days = []
    for _ in range(count):
        events = [posting(name) for name in ("RECHARGED", "COLLECTED", "WALLET_PAID")]
        assert await booked(desk, *events) == ["posted"] * 3
        days.append(await closed_day(desk))
    await desk.clock.advance(desk.db, OLD)
    await turn_days(desk)
    return days


async def strays(desk):
    """Return the tables with rows that lie in no week."""
    return [one.name for one in await horizons(desk.db) if one.strays]


def of_file(desk, table, acct_date):
    """Return the rows of a file in its order, times in microseconds."""
    path = file_of(desk.history.folder, book_id=BOOK, acct_date=acct_date, table=table)
    columns = ", ".join(
        f"epoch_us({name})" if kind == "TIMESTAMPTZ" else name
        for name, kind in COLUMNS[table].items()
    )
    with duckdb.connect() as connection:
        return connection.execute(f"SELECT {columns} FROM '{path}'").fetchall()


async def of_table(desk, table, acct_date):
    """Return the rows of a table that belong to a day, as the file should have them."""
    columns = ", ".join(
        f"(extract(epoch FROM t.{name}) * 1000000)::bigint"
        if kind == "TIMESTAMPTZ"
        else f"t.{name}"
        for name, kind in COLUMNS[table].items()
    )
    order = "t.trace_no, t.seq" if table == "voucher" else "t.seq"
    return await all_of(
        desk,
        f"""
        SELECT {columns} FROM {table} t
        JOIN block b ON (b.book_id, b.block_no) = (t.book_id, t.seq / 8192)
        WHERE b.acct_date = %(acct_date)s ORDER BY {order}
        """,
        acct_date=acct_date,
    )
