"""List the tries to deliver one webhook, the latest first."""

from __future__ import annotations

from mesh.lists import Page
from tongbao.trade.v1 import reasons_pb2 as reasons
from trade.desk import Desk
from trade.model import App, refuse
from trade.store.lists import find_webhook_attempts
from trade.store.webhook import find_webhook
from trade.webhook import WebhookAttempt


async def list_webhook_attempts(
    desk: Desk, app: App, *, webhook_id: str, page: Page
) -> tuple[list[WebhookAttempt], str]:
    """Return the tries of the page, and the token of the next one, empty after the last.

    Raises Refused(WEBHOOK_NOT_FOUND).
    """
    if await find_webhook(desk.db, app_id=app.app_id, webhook_id=webhook_id) is None:
        raise refuse(reasons.REASON_WEBHOOK_NOT_FOUND, webhook_id=webhook_id)
    return await find_webhook_attempts(desk.db, page, app_id=app.app_id, webhook_id=webhook_id)
