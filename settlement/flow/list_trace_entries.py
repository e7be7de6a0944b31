"""List what settlement has of a trace: its clearing items."""

from __future__ import annotations

from settlement import store
from settlement.desk import Desk
from settlement.model import Entry


async def list_trace_entries(desk: Desk, *, app_id: str, trace_no: str) -> list[Entry]:
    """Return the clearing items of the app's trace, oldest first; empty when there is none."""
    return await store.list_items(desk.db, app_id=app_id, trace_no=trace_no)
