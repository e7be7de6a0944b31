"""Put a deny entry: a user of an app may not pay, or may pay again."""

from __future__ import annotations

from risk import store
from risk.desk import Desk


async def put_deny_entry(
    desk: Desk, *, app_id: str, user_no: str, cause: str, lifted: bool
) -> None:
    """Put the user on the deny list, or take it off, for the next evaluation."""
    await store.put_deny_entry(desk.db, app_id=app_id, user_no=user_no, cause=cause, lifted=lifted)
