"""List: what channel has of a trace."""

from __future__ import annotations

import asyncio

from channel.desk import Desk
from channel.model import Attempt, Callback
from channel.store.attempt import list_attempts
from channel.store.callback import list_callbacks


async def list_trace_entries(
    desk: Desk, *, app_id: str, trace_no: str
) -> tuple[list[Attempt], list[Callback]]:
    """Return the app's attempts of a trace and the callbacks about them, each oldest first."""
    return await asyncio.gather(
        list_attempts(desk.db, app_id=app_id, trace_no=trace_no),
        list_callbacks(desk.db, app_id=app_id, trace_no=trace_no),
    )
