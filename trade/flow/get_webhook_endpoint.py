"""Get where an app's webhooks go."""

from __future__ import annotations

from trade.access import Endpoint
from trade.desk import Desk
from trade.flow._own import own_app
from trade.store.access import find_endpoint


async def get_webhook_endpoint(desk: Desk, *, app_id: str) -> Endpoint:
    """Return the endpoint. Raises Refused, in this order: APP_ID_REQUIRED, APP_NOT_FOUND."""
    app = await own_app(desk, app_id)
    return await find_endpoint(desk.db, app_id=app.app_id)
