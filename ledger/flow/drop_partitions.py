"""Drop partitions: a week of the journal leaves the database when all of it is in files."""

from __future__ import annotations

from datetime import UTC, date, timedelta

from ledger.desk import Desk
from ledger.store import filed
from ledger.store import history as store

_WEEK = timedelta(days=7)


async def drop_partitions(desk: Desk) -> date | None:
    """Drop the partitions of the oldest week; return its Monday, None when it has to stay.

    It goes when it is over for `keep_entry_days` and every row of it is in files, which are
    read once more before. From then on what has an id of that week or before is refused
    (ID_TOO_OLD): nobody can say any more whether it was booked.

    Raises HistoryError when a file is not the one that was written, NotExecuted when somebody
    read the journal all the while: then nothing is dropped, and it may be tried again.
    """
    monday = await store.oldest_week(desk.db)
    old = desk.clock.now().astimezone(UTC).date() - timedelta(days=desk.keep_entry_days)
    if monday is None or monday + _WEEK > old or await store.problem_of_week(desk.db, monday):
        return None
    await desk.history.check(await filed.days_of_week(desk.db, monday))
    problem = await store.drop_week(desk.db, monday)
    return None if problem else monday
