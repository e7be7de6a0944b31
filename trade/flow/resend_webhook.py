"""Send a webhook once more, because somebody asks for it."""

from __future__ import annotations

from tongbao.trade.v1 import reasons_pb2 as reasons
from trade.desk import Desk
from trade.flow._own import own_app, request_of, thing_of, until_current
from trade.model import refuse
from trade.store import webhook as store
from trade.store.access import find_endpoint
from trade.webhook import Webhook


async def resend_webhook(
    desk: Desk, *, request_id: str, fingerprint: bytes, app_id: str, webhook_id: str
) -> tuple[Webhook, bool]:
    """Make a try by hand due now; return the webhook, and whether the request was seen before.

    The timer sends it: same id, same bytes, also when this process dies. Raises Refused, in this
    order: APP_ID_REQUIRED, APP_NOT_FOUND, REQUEST_REUSED, WEBHOOK_NOT_FOUND,
    WEBHOOK_URL_MISSING.
    """
    app = await own_app(desk, app_id)
    request = request_of(request_id, fingerprint)

    async def found() -> Webhook:
        webhook = await store.find_webhook(desk.db, app_id=app.app_id, webhook_id=webhook_id)
        if webhook is None:
            raise refuse(reasons.REASON_WEBHOOK_NOT_FOUND, webhook_id=webhook_id)
        return webhook

    async def change() -> tuple[Webhook, bool] | None:
        if await thing_of(desk, request):
            return await found(), True
        webhook = await found()
        if not (await find_endpoint(desk.db, app_id=app.app_id)).url:
            raise refuse(reasons.REASON_WEBHOOK_URL_MISSING)
        now = desk.clock.now()
        if not await store.resend_webhook(desk.db, webhook, now=now, request=request):
            return None
        return await found(), False

    return await until_current(change, what=webhook_id)
