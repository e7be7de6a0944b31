"""What was set up, read by key: for the directory, which remembers it."""

from __future__ import annotations

from dataclasses import dataclass

from mesh.db import Database, Statement
from trade.model import App, Merchant, Product, Wallet
from trade.store.columns import (
    APP,
    MERCHANT,
    PRODUCT,
    WALLET,
    app,
    merchant,
    of,
    product,
    wallet,
)


async def find_app(db: Database, *, app_id: str) -> App | None:
    """Return the app."""
    return await db.ask(_FIND_APP, _Seek(app_id=app_id))


async def find_app_of(db: Database, *, business_code: str) -> App | None:
    """Return the app with this business code."""
    return await db.ask(_FIND_APP_OF, _Seek(key=business_code))


async def find_keys(db: Database, *, app_id: str) -> tuple[str, ...]:
    """Return the public keys in PEM that may sign for the app now, the oldest first."""
    return await db.ask(_FIND_KEYS, _Seek(app_id=app_id))


async def find_merchant(db: Database, *, app_id: str, merchant_id: str) -> Merchant | None:
    """Return the app's merchant."""
    return await db.ask(_FIND_MERCHANT, _Seek(app_id=app_id, key=merchant_id))


async def find_product(db: Database, *, app_id: str, product_code: str) -> Product | None:
    """Return the product if the app may use it."""
    return await db.ask(_FIND_PRODUCT, _Seek(app_id=app_id, key=product_code))


async def find_wallet(
    db: Database, *, app_id: str, user_no: str, currency_code: str
) -> Wallet | None:
    """Return the wallet of the app's user."""
    seek = _Seek(app_id=app_id, key=user_no, currency_code=currency_code)
    return await db.ask(_FIND_WALLET, seek)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seek:
    app_id: str = ""
    key: str = ""
    currency_code: str = ""


_SEEK = {"app_id": "text", "key": "text", "currency_code": "text"}

_FIND_APP: Statement[_Seek, App | None] = Statement(
    name="find_app",
    columns=_SEEK,
    result=app,
    sql=f"""
    WITH i AS ({{input}})
    SELECT i.ord, {of("a", APP)} FROM i LEFT JOIN app a ON a.app_id = i.app_id
    """,
)

_FIND_APP_OF: Statement[_Seek, App | None] = Statement(
    name="find_app_of",
    columns=_SEEK,
    result=app,
    sql=f"""
    WITH i AS ({{input}})
    SELECT i.ord, {of("a", APP)} FROM i LEFT JOIN app a ON a.business_code = i.key
    """,
)

_FIND_KEYS: Statement[_Seek, tuple[str, ...]] = Statement(
    name="find_keys",
    columns=_SEEK,
    result=lambda row: tuple(row.pems or ()),
    sql="""
    WITH i AS ({input})
    SELECT i.ord, (
        SELECT array_agg(k.public_key_pem ORDER BY k.create_time, k.key_id)
        FROM app_key k
        WHERE k.app_id = i.app_id AND (k.retire_time IS NULL OR k.retire_time > now())
    ) AS pems
    FROM i
    """,
)

_FIND_MERCHANT: Statement[_Seek, Merchant | None] = Statement(
    name="find_merchant",
    columns=_SEEK,
    result=merchant,
    sql=f"""
    WITH i AS ({{input}})
    SELECT i.ord, {of("m", MERCHANT)}
    FROM i LEFT JOIN merchant m ON (m.merchant_id, m.app_id) = (i.key, i.app_id)
    """,
)

_FIND_PRODUCT: Statement[_Seek, Product | None] = Statement(
    name="find_product",
    columns=_SEEK,
    result=product,
    sql=f"""
    WITH i AS ({{input}})
    SELECT i.ord, {of("p", PRODUCT)}
    FROM i
    LEFT JOIN product_app u ON (u.app_id, u.product_code) = (i.app_id, i.key)
    LEFT JOIN product p ON p.product_code = u.product_code
    """,
)

_FIND_WALLET: Statement[_Seek, Wallet | None] = Statement(
    name="find_wallet",
    columns=_SEEK,
    result=wallet,
    sql=f"""
    WITH i AS ({{input}})
    SELECT i.ord, {of("w", WALLET)}
    FROM i LEFT JOIN wallet w
        ON (w.app_id, w.user_no, w.currency_code) = (i.app_id, i.key, i.currency_code)
    """,
)
