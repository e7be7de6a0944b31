"""Send an app's webhooks elsewhere."""

from __future__ import annotations

from dataclasses import replace

from tongbao.trade.v1 import reasons_pb2 as reasons
from trade.access import Endpoint
from trade.desk import Desk
from trade.flow._own import own_app, request_of, thing_of, until_current
from trade.model import refuse
from trade.store.access import change_endpoint, find_endpoint


async def update_webhook_endpoint(
    desk: Desk, *, request_id: str, fingerprint: bytes, app_id: str, url: str
) -> tuple[Endpoint, bool]:
    """Change the url; return the endpoint as it is now, and whether the request was seen before.

    Raises Refused, in this order: APP_ID_REQUIRED, APP_NOT_FOUND, REQUEST_REUSED,
    WEBHOOK_URL_REFUSED.
    """
    app = await own_app(desk, app_id)
    request = request_of(request_id, fingerprint)

    async def change() -> tuple[Endpoint, bool] | None:
        seen = await thing_of(desk, request)
        endpoint = await find_endpoint(desk.db, app_id=app.app_id)
        if seen:
            return endpoint, True
        if url and (problem := await desk.egress.check(url)):
            raise refuse(reasons.REASON_WEBHOOK_URL_REFUSED, problem=problem)
        after = replace(endpoint, url=url)
        if not await change_endpoint(desk.db, after, request=request):
            return None
        desk.directory.forget(app.app_id)
        return after, False

    return await until_current(change, what=app.app_id)
