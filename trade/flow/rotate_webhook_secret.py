"""Give an app a new webhook secret; the one before it stays valid for a while."""

from __future__ import annotations

from datetime import timedelta

from trade.access import Endpoint
from trade.desk import Desk
from trade.flow._own import own_app, request_of, thing_of, until_current
from trade.store.access import change_endpoint, find_endpoint
from trade.webhook import new_secret, secret_place


async def rotate_webhook_secret(
    desk: Desk, *, request_id: str, fingerprint: bytes, app_id: str, overlap_hours: int
) -> tuple[Endpoint, str, bool]:
    """Rotate; return the endpoint, the new secret, and whether the request was seen before.

    The secret is told once: it is empty when the request was seen before. Raises Refused, in
    this order: APP_ID_REQUIRED, APP_NOT_FOUND, REQUEST_REUSED.
    """
    app = await own_app(desk, app_id)
    request = request_of(request_id, fingerprint)
    secret = new_secret()
    sealed = desk.seal.close(secret, place=secret_place(app.app_id))

    async def change() -> tuple[Endpoint, str, bool] | None:
        seen = await thing_of(desk, request)
        endpoint = await find_endpoint(desk.db, app_id=app.app_id)
        if seen:
            return endpoint, "", True
        after = endpoint.rotated(
            sealed, overlap=timedelta(hours=overlap_hours), now=desk.clock.now()
        )
        if not await change_endpoint(desk.db, after, request=request):
            return None
        return after, secret, False

    return await until_current(change, what=app.app_id)
