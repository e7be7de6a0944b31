"""What this process remembers of apps, merchants, products and wallets.

Rows that never change are kept once they were seen; what is not there is asked for again
each time, because another replica may just have made it. Keys and limits of apps can change,
so they are read anew after a while.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Any, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from mesh.clock import monotonic
from mesh.db import Database
from mesh.limits import Limits
from mesh.tokens import public_key
from trade.model import App, Merchant, Product, Wallet
from trade.store import app_limit, lookup

KEYS_SECONDS = 2.0
_REMEMBERED_MAX = 100_000

T = TypeVar("T")


class Directory:
    """One per process. Absent means None."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._known: dict[Hashable, Any] = {}
        self._keys: dict[str, tuple[Sequence[Ed25519PublicKey], float]] = {}
        self._apps: dict[str, tuple[App, float]] = {}
        self._limits: dict[str, tuple[Limits | None, float]] = {}

    async def app(self, app_id: str) -> App | None:
        """Return the app with this id."""
        app, until = self._apps.get(app_id, (None, 0.0))
        if app is None or monotonic() >= until:
            app = await lookup.find_app(self._db, app_id=app_id)
            if app is not None:
                self._apps[app_id] = (app, monotonic() + KEYS_SECONDS)
        return app

    def forget(self, app_id: str) -> None:
        """Read the app and its keys anew next time: they have just been changed here."""
        self._apps.pop(app_id, None)
        self._keys.pop(app_id, None)

    async def app_of(self, business_code: str) -> App | None:
        """Return the app with this business code."""
        key = ("code", business_code)
        return await self._recall(key, lookup.find_app_of, business_code=business_code)

    async def merchant(self, app_id: str, merchant_id: str) -> Merchant | None:
        """Return the app's merchant."""
        key = ("merchant", app_id, merchant_id)
        return await self._recall(key, lookup.find_merchant, app_id=app_id, merchant_id=merchant_id)

    async def product(self, app_id: str, product_code: str) -> Product | None:
        """Return the product if the app may use it."""
        key = ("product", app_id, product_code)
        return await self._recall(
            key, lookup.find_product, app_id=app_id, product_code=product_code
        )

    async def wallet(self, app_id: str, user_no: str, currency_code: str) -> Wallet | None:
        """Return the wallet of the app's user."""
        key = ("wallet", app_id, user_no, currency_code)
        return await self._recall(
            key, lookup.find_wallet, app_id=app_id, user_no=user_no, currency_code=currency_code
        )

    async def keys_of(self, app_id: str) -> Sequence[Ed25519PublicKey]:
        """Return the keys that may sign for the app; none for an app that does not exist."""
        keys, until = self._keys.get(app_id, ((), 0.0))
        if monotonic() < until:
            return keys
        keys = tuple(public_key(pem) for pem in await lookup.find_keys(self._db, app_id=app_id))
        if keys:
            self._keys[app_id] = (keys, monotonic() + KEYS_SECONDS)
        else:
            self._keys.pop(app_id, None)
        return keys

    async def limits_of(self, app_id: str) -> Limits | None:
        """Return the limits of an app; None for one that has none of its own."""
        limits, until = self._limits.get(app_id, (None, 0.0))
        if monotonic() >= until:
            limits = await app_limit.find_limits(self._db, app_id=app_id)
            self._limits[app_id] = (limits, monotonic() + KEYS_SECONDS)
        return limits

    async def _recall(
        self, key: Hashable, find: Callable[..., Awaitable[T | None]], **names: str
    ) -> T | None:
        """Return what is known under `key`, or what `find` brings and is known from now on."""
        known: T | None = self._known.get(key)
        if known is None:
            known = await find(self._db, **names)
            if known is not None:
                if len(self._known) >= _REMEMBERED_MAX:
                    self._known.clear()  # Rare, and cheaper than keeping an order of use.
                self._known[key] = known
        return known
