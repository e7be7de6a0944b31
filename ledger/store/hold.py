"""Holds whose time is over."""

from __future__ import annotations

from mesh.db import Database, Row


async def find_due(db: Database, *, limit: int) -> list[Row]:
    """Return open holds that should be let go, those that are due for longest first."""
    return await db.rows(_FIND_DUE, limit=limit)


_FIND_DUE = """
SELECT book_id, id, code, expire_time FROM hold
WHERE state = 0 AND expire_time < 'infinity' AND expire_time <= business_now()
ORDER BY expire_time LIMIT %(limit)s
"""
