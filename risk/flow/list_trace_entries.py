"""List what risk has of a trace: its decisions."""

from __future__ import annotations

from risk import store
from risk.desk import Desk
from risk.model import Entry


async def list_trace_entries(desk: Desk, *, app_id: str, trace_no: str) -> list[Entry]:
    """Return the decisions of the app's trace, oldest first; empty when there is none."""
    return await store.list_decisions(desk.db, app_id=app_id, trace_no=trace_no)
