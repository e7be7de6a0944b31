"""Durable timers: a column of the row itself says when somebody has to look at it next.

Taking a row pushes its `due_time` ahead by the lease, in one statement that skips what
others are taking: any number of replicas may work, and a row whose taker died is due again
when the lease is over. The flow that handles the row then moves it, with a new due time or
none. Handling twice must do no harm, and does none: flows are guarded by versions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import structlog

from mesh.batch import NotExecuted, Rejected, Undone, Unknown
from mesh.context import Acting, acting_as, within
from mesh.db import Database, Row
from mesh.duty import unbroken

Desk = TypeVar("Desk")

LEASE_SECONDS = 30
TAKE_MAX = 128
_POLL_SECONDS = 0.2
_TROUBLE_SECONDS = 1.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Due(Generic[Desk]):
    """Which rows are looked at again, and by which flow.

    `columns` are what `handle` gets; `app_id` and `trace_no` must be among them.
    """

    name: str
    table: str
    key: str
    columns: Sequence[str]
    handle: Callable[[Desk, Row], Awaitable[Any]]

    def take_sql(self) -> str:
        """Return the statement that leases what is due, oldest first."""
        columns = ", ".join(f"t.{column}" for column in self.columns)
        return f"""
        UPDATE {self.table} t SET due_time = business_now() + interval '{LEASE_SECONDS} seconds'
        FROM (
            SELECT {self.key} FROM {self.table} WHERE due_time <= business_now()
            ORDER BY due_time LIMIT {TAKE_MAX} FOR UPDATE SKIP LOCKED
        ) d
        WHERE t.{self.key} = d.{self.key} RETURNING {columns}
        """


async def run_due(db: Database, due: Due[Desk], desk: Desk) -> None:
    """Take and handle what is due, until cancelled."""
    sql = due.take_sql()
    while True:
        try:
            with unbroken():
                rows = await db.rows(sql)
                await asyncio.gather(*(_handle(due, desk, row) for row in rows))
        except (NotExecuted, Unknown, Undone) as error:
            log.warning("due_not_taken", due=due.name, problem=str(error))
            await asyncio.sleep(_TROUBLE_SECONDS)
            continue
        if len(rows) < TAKE_MAX:
            await asyncio.sleep(_POLL_SECONDS)


async def _handle(due: Due[Desk], desk: Desk, row: Row) -> None:
    """Run the flow for one row. What goes wrong is tried again when the lease is over."""
    owner = Acting(app_id=row.app_id, trace_no=row.trace_no)
    try:
        with acting_as(owner), within(LEASE_SECONDS):
            await due.handle(desk, row)
    except (NotExecuted, Unknown, Rejected) as error:
        log.warning("due_not_done", due=due.name, trace_no=row.trace_no, problem=str(error))
    except Exception:  # A bug in one flow must not stop the timers of all others.
        log.exception("due_broke", due=due.name, trace_no=row.trace_no)
