"""The weekly partitions of journal and vouchers."""

from __future__ import annotations

from uuid import UUID

from mesh.db import Database

WEEKS_AHEAD = 5


async def make(db: Database) -> int:
    """Make the partitions that are missing up to WEEKS_AHEAD; return how many.

    Raises Rejected when a week has rows outside of it already: see `find_stray`.
    """
    sql = "SELECT make_week_partitions(%(weeks)s) AS made"
    [row] = await db.rows(sql, weeks=WEEKS_AHEAD)
    return int(row.made)


async def find_stray(db: Database) -> UUID | None:
    """Return the id of a row that has no partition, if there is one. There must not be."""
    rows = await db.rows(_STRAY)
    return rows[0].id if rows else None


_STRAY = """
(SELECT id FROM transfer_default LIMIT 1) UNION ALL (SELECT txn FROM voucher_default LIMIT 1)
"""
