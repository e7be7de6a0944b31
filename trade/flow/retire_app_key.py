"""Retire a key of an app, at once or at a moment to come."""

from __future__ import annotations

from datetime import datetime

from mesh.clock import real_now
from trade.access import AppKey
from trade.desk import Desk
from trade.flow._own import own_app, request_of, thing_of, until_current
from trade.store.access import find_all_keys, put_key


async def retire_app_key(
    desk: Desk,
    *,
    request_id: str,
    fingerprint: bytes,
    app_id: str,
    key_id: str,
    retire_time: datetime | None,
) -> tuple[AppKey, bool]:
    """Retire the key; return it as it is now, and whether the request was seen before.

    Every process refuses its tokens within `KEYS_SECONDS` of the directory and `LOOK_SECONDS`
    of mesh.tokens. Two that retire each other's key cannot both pass: the app's version lets
    one of them through, the other decides anew.

    Raises Refused, in this order: APP_ID_REQUIRED, APP_NOT_FOUND, REQUEST_REUSED,
    APP_KEY_NOT_FOUND, APP_KEY_LAST.
    """
    app = await own_app(desk, app_id)
    request = request_of(request_id, fingerprint)

    async def change() -> tuple[AppKey, bool] | None:
        seen = await thing_of(desk, request)
        known = await find_all_keys(desk.db, app_id=app.app_id)
        if seen:
            return known.find(seen), True
        now = real_now()
        key = known.retired(key_id, at=retire_time or now, now=now)
        if not await put_key(desk.db, key, version=known.version, request=request):
            return None
        desk.directory.forget(app.app_id)
        return key, False

    return await until_current(change, what=app.app_id)
