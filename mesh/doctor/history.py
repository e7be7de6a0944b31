"""Files of closed days of the ledger: the only copy of what left its database."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from mesh.db import Database, Row
from mesh.doctor.finding import Finding, Scene, failed, passed, unseen

SHOWN = 3  # Files that are named; the others are counted.

_DAYS = """
SELECT book_id, acct_date, transfer_bytes, voucher_bytes
FROM history_day ORDER BY book_id, acct_date
"""


async def history(scene: Scene) -> Sequence[Finding]:
    """Whether every day that is in files has both, each as long as it was written.

    What is in them is looked at by `tongbao ledger verify`.
    """
    dsn = scene.own("ledger", "database_dsn")
    why = scene.learnt.get("postgres", "PostgreSQL was not looked at")  # By `server`, before.
    if dsn is None or why is not None:
        return (unseen(scene, "history", why or "the ledger was never started"),)
    async with Database(dsn, connections_max=1) as db:
        days = await db.rows(_DAYS)
    folder = scene.settings.home / "ledger" / "history"
    wrong = await asyncio.to_thread(_wrong, folder, days)
    if wrong:
        more = f"; {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        step = f"Restore it from its copy, into {folder}: it may be the only one"
        return (failed("history", "; ".join(wrong[:SHOWN]) + more, step),)
    return (passed("history", f"ledger: {len(days)} days in files, all of them are there"),)


def _wrong(folder: Path, days: Sequence[Row]) -> list[str]:
    """Return what is wrong with the files of these days, a text for each file."""
    found = []
    for day in days:
        for table in ("transfer", "voucher"):
            name = f"book-{day.book_id}/{day.acct_date.isoformat()}/{table}.parquet"
            size = getattr(day, f"{table}_bytes")
            try:
                seen = (folder / name).stat().st_size
            except OSError as error:
                found.append(f"ledger: {name}: {error.strerror}")
                continue
            if seen != size:
                found.append(f"ledger: {name} has {seen} bytes, {size} were written")
    return found
