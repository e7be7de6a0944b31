"""List the keys of an app."""

from __future__ import annotations

from collections.abc import Sequence

from trade.access import AppKey
from trade.desk import Desk
from trade.flow._own import own_app
from trade.store.access import find_all_keys


async def list_app_keys(desk: Desk, *, app_id: str) -> Sequence[AppKey]:
    """Return the keys, retired ones too, the oldest first.

    Raises Refused, in this order: APP_ID_REQUIRED, APP_NOT_FOUND.
    """
    app = await own_app(desk, app_id)
    return (await find_all_keys(desk.db, app_id=app.app_id)).keys
