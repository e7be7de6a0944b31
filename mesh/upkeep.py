"""What a schema needs from time to time: partitions ahead of time, old rows gone.

Both are idempotent and may run in many processes at once. Every service does them by itself;
`tongbao db partitions` and `tongbao db retention` do the same once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog

from mesh.batch import NotExecuted, Rejected, Undone, Unknown
from mesh.config import Settings
from mesh.db import Database
from mesh.duty import unbroken

MONTHS_AHEAD = 12  # Of yearly partitions: those of next year are there all year long.
ROWS_MAX = 1_000  # Deleted in one statement.
_SECONDS = 600.0
_BETWEEN_SECONDS = 0.05  # Between two such statements, so that others come in between.
_NOT_DONE = (NotExecuted, Undone, Unknown, Rejected)

log = structlog.get_logger()

# Bounds are the first characters of an order number, or the least UUIDv7 of a moment.
_HORIZONS = """
SELECT name, floor(extract(epoch FROM ends - business_now()) / 86400)::integer AS days, strays
FROM partition_horizon()
"""
_MAKE = "SELECT keep_partitions(%(months)s) AS made"


@dataclass(frozen=True, slots=True, kw_only=True)
class Horizon:
    """A partitioned table: for how many days to come it has partitions, and whether rows lie
    in the default one."""

    name: str
    days: int
    strays: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Rows that go when they are older than `days`: those of `table` for which `when` holds.

    `key` are the columns of its key; `now` is the clock that `create_time` was written by. A
    BRIN index on `create_time` finds the old ones.
    """

    table: str
    key: str
    days: int
    when: str = "true"
    now: str = "now()"

    def sql(self) -> str:
        """Return the statement that deletes some of them and says how many."""
        return f"""
        WITH gone AS (
            DELETE FROM {self.table} WHERE ({self.key}) IN (
                SELECT {self.key} FROM {self.table}
                WHERE create_time < {self.now} - interval '{self.days} days' AND {self.when}
                LIMIT {ROWS_MAX} FOR UPDATE SKIP LOCKED
            ) RETURNING 1
        ) SELECT count(*) AS rows FROM gone
        """


def common_rows(settings: Settings) -> list[Kept]:
    """Return what ages in the schema of every service."""
    published = "sequence IS NOT NULL"  # What is not yet published stays, however old.
    days = settings.keep_outbox_days
    return [
        Kept(table="outbox", key="outbox_id", days=days, when=published),
        Kept(table="inbox", key="consumer, batch_id", days=settings.keep_inbox_days),
    ]


async def horizons(db: Database) -> list[Horizon]:
    """Return how far ahead every partitioned table is."""
    rows = await db.rows(_HORIZONS)
    return [Horizon(name=row.name, days=row.days, strays=row.strays) for row in rows]


async def make_partitions(db: Database, *, months: int = MONTHS_AHEAD) -> int:
    """Make the partitions that are missing for the months to come; return how many.

    A schema may have weeks of its own, which are made too: it has `make_week_partitions`. Raises
    Rejected when rows of a year to come lie in the default partition already, NotExecuted when
    somebody read the tables all the while. Then nothing is made.
    """
    [row] = await db.rows(_MAKE, months=months)
    return int(row.made)


async def delete_old(db: Database, kept: Sequence[Kept]) -> dict[str, int]:
    """Delete what is too old, some rows at a time; return how many of each table."""
    gone = {one.table: 0 for one in kept}
    for one in kept:
        while rows := int((await db.rows(one.sql()))[0].rows):
            gone[one.table] += rows
            await asyncio.sleep(_BETWEEN_SECONDS)
    return gone


async def keep_up(db: Database, kept: Sequence[Kept]) -> None:
    """Do both every ten minutes, until cancelled; tell of rows that are left in no partition."""
    from mesh.telemetry import PARTITIONS_NOT_MADE  # Here: commands have no use for it.

    while True:
        is_stuck = False
        try:
            with unbroken():
                if made := await make_partitions(db):
                    log.info("partitions_made", count=made)
        except _NOT_DONE as error:
            is_stuck = True
            log.error("partitions_not_made", problem=str(error))
        PARTITIONS_NOT_MADE.set(is_stuck)
        try:
            _tell_strays(await horizons(db))
            _tell_gone(await delete_old(db, kept))
        except _NOT_DONE as error:
            log.error("upkeep_not_done", problem=str(error))
        await asyncio.sleep(_SECONDS)


def _tell_strays(tables: Sequence[Horizon]) -> None:
    for table in tables:
        if table.strays:
            log.error("rows_without_partition", table=table.name)


def _tell_gone(gone: Mapping[str, int]) -> None:
    for table, rows in gone.items():
        if rows:
            log.info("old_rows_deleted", table=table, rows=rows)
