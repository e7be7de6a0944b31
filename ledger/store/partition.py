"""The weekly partitions of journal and vouchers."""

from __future__ import annotations

from uuid import UUID

from mesh.db import Database

WEEKS_AHEAD = 5


async def make(db: Database) -> int:
    """Make the partitions that are missing up to WEEKS_AHEAD; return how many.

    Rows of such weeks in the default partitions stay where they are: those two get a range.
    Raises NotExecuted when somebody read the journal all the while, then nothing is done.
    """
    sql = "SELECT make_week_partitions(%(weeks)s) AS made"
    [row] = await db.rows(sql, weeks=WEEKS_AHEAD)
    return int(row.made)


async def find_stray(db: Database) -> UUID | None:
    """Return the id of a row whose week was not made yet, if there is one: `make` is late."""
    rows = await db.rows(_STRAY)
    return rows[0].id if rows else None


_STRAY = """
(SELECT id FROM transfer_default LIMIT 1) UNION ALL (SELECT txn FROM voucher_default LIMIT 1)
"""
