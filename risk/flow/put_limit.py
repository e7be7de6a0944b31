"""Put a limit: how much one user of an app may pay a day in a currency."""

from __future__ import annotations

from risk import store
from risk.desk import Desk


async def put_limit(desk: Desk, *, app_id: str, currency_code: str, daily_minor: int) -> None:
    """Set the limit for the next evaluation. What is already reserved stays as it is."""
    assert daily_minor >= 0, daily_minor
    await store.put_limit(
        desk.db, app_id=app_id, currency_code=currency_code, daily_minor=daily_minor
    )
