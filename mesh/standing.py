"""How far behind a service is, as its tables say: events to publish, rows that are late."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mesh.batch import NotExecuted, Rejected, Undone, Unknown
from mesh.db import Database

_CONNECT_S = 5.0
_COUNTED_MAX = 100_001  # What is more is told as this: counting millions would cost.

_BEHIND = f"""
SELECT (SELECT count(*) FROM (SELECT FROM outbox WHERE sequence IS NULL LIMIT {_COUNTED_MAX}) o)
           AS outbox_rows,
       (SELECT extract(epoch FROM now() - create_time)::bigint FROM outbox
        WHERE sequence IS NULL ORDER BY outbox_id LIMIT 1) AS outbox_seconds,
       (SELECT count(*) FROM dead_letter) AS dead_letters
"""
_DUE_TABLES = """
SELECT t.relname FROM pg_attribute a JOIN pg_class t ON t.oid = a.attrelid
WHERE t.relnamespace = current_schema()::regnamespace AND a.attname = 'due_time'
    AND NOT t.relispartition AND t.relkind IN ('r', 'p') AND NOT a.attisdropped
ORDER BY t.relname
"""
_LATE = f"""
SELECT count(*) AS rows,
       coalesce(extract(epoch FROM business_now() - min(due_time)), 0)::bigint AS seconds
FROM (SELECT due_time FROM {{table}} WHERE due_time < business_now()
      ORDER BY due_time LIMIT {_COUNTED_MAX}) d
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Late:
    """Rows of one table that are due: how many, and by how many seconds the first is late."""

    table: str
    rows: int
    seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What one service has yet to do. Ages are seconds of real time, lateness of business
    time."""

    outbox_rows: int
    outbox_seconds: int
    dead_letters: int
    late: tuple[Late, ...]

    @property
    def late_seconds(self) -> int:
        """By how much the row is late that should have been taken first."""
        return max((one.seconds for one in self.late), default=0)


async def standing_of(db: Database) -> Standing:
    """Return what the service whose database this is has yet to do."""
    [row] = await db.rows(_BEHIND)
    late = []
    for table in await db.rows(_DUE_TABLES):
        [found] = await db.rows(_LATE.format(table=table.relname))
        late.append(Late(table=table.relname, rows=found.rows, seconds=found.seconds))
    return Standing(
        outbox_rows=row.outbox_rows,
        outbox_seconds=row.outbox_seconds or 0,
        dead_letters=row.dead_letters,
        late=tuple(late),
    )


async def standings(home: Path, services: Iterable[str]) -> dict[str, Standing]:
    """Return the standing of every service whose database answers at once."""
    found: dict[str, Standing] = {}

    async def one(service: str) -> None:
        file = home / "run" / f"{service}.json"
        with suppress(OSError, KeyError, TimeoutError, NotExecuted, Unknown, Undone, Rejected):
            dsn = json.loads(file.read_text())["database_dsn"]
            async with asyncio.timeout(_CONNECT_S), Database(dsn, connections_max=1) as db:
                found[service] = await standing_of(db)

    await asyncio.gather(*map(one, services))
    return found
