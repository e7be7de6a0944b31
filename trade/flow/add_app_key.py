"""Add a key that may sign an app's tokens."""

from __future__ import annotations

from mesh.clock import real_now
from trade.access import AppKey, new_key
from trade.desk import Desk
from trade.flow._own import own_app, request_of, thing_of, until_current
from trade.store.access import find_all_keys, put_key


async def add_app_key(
    desk: Desk, *, request_id: str, fingerprint: bytes, app_id: str, public_key_pem: str
) -> tuple[AppKey, bool]:
    """Add the key; return it as it is now, and whether the request was seen before.

    Raises Refused, in this order: APP_ID_REQUIRED, APP_NOT_FOUND, REQUEST_REUSED,
    PUBLIC_KEY_INVALID, APP_KEY_KNOWN, APP_KEYS_FULL.
    """
    app = await own_app(desk, app_id)
    request = request_of(request_id, fingerprint)

    async def change() -> tuple[AppKey, bool] | None:
        seen = await thing_of(desk, request)
        known = await find_all_keys(desk.db, app_id=app.app_id)
        if seen:
            return known.find(seen), True
        key = new_key(app.app_id, public_key_pem, now=desk.clock.now())
        known.check_new(key, now=real_now())
        if not await put_key(desk.db, key, version=known.version, request=request):
            return None
        desk.directory.forget(app.app_id)
        return key, False

    return await until_current(change, what=app.app_id)
