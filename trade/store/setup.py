"""What operators and apps set up: apps, merchants, products, wallets, written once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from mesh.db import Database, Statement
from mesh.sql import Outcome
from trade.access import AppKey
from trade.model import App, Merchant, Product, Wallet
from trade.store.columns import APP, MERCHANT, PRODUCT, WALLET


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """An operator's request: by whom, under which id, for what."""

    principal: str
    request_id: str
    fingerprint: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What a request id stands for. RACE: for nothing."""

    outcome: Outcome
    thing_id: str


async def find_request(db: Database, request: Request) -> Made:
    """Return what the request id stands for, compared with the content."""
    return await db.ask(_FIND_REQUEST, request)


async def add_app(db: Database, app: App, *, key: AppKey, request: Request) -> bool:
    """Write the app, its key and the request; False, and nothing, when any key is taken."""
    new = _NewApp(
        **_values(app),
        **_values(request),
        key_id=key.key_id,
        public_key_pem=key.public_key_pem,
        key_fingerprint=key.fingerprint,
    )
    return await db.ask(_ADD_APP, new)


async def add_merchant(db: Database, merchant: Merchant, *, request: Request) -> bool:
    """Write the merchant and the request; False, and nothing, when the request was seen."""
    return await db.ask(_ADD_MERCHANT, _NewMerchant(**_values(merchant), **_values(request)))


async def add_product(
    db: Database, product: Product, *, app_ids: tuple[str, ...], request: Request
) -> bool:
    """Write the product, who may use it, and the request.

    Returns False, and writes nothing, when any key is taken.
    """
    new = _NewProduct(**_values(product), **_values(request), app_ids=app_ids)
    return await db.ask(_ADD_PRODUCT, new)


async def add_wallet(db: Database, wallet: Wallet) -> bool:
    """Write the wallet; False when the user has one in this currency."""
    return await db.ask(_ADD_WALLET, wallet)


@dataclass(frozen=True, slots=True, kw_only=True)
class _NewApp(App):
    key_id: str
    public_key_pem: str
    key_fingerprint: str
    principal: str
    request_id: str
    fingerprint: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _NewMerchant(Merchant):
    principal: str
    request_id: str
    fingerprint: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _NewProduct(Product):
    app_ids: tuple[str, ...]
    principal: str
    request_id: str
    fingerprint: bytes


def _values(record: App | Merchant | Product | Request) -> dict[str, Any]:
    return {field.name: getattr(record, field.name) for field in fields(record)}


def _request_of(new: _NewApp | _NewMerchant | _NewProduct) -> tuple[str, str, str]:
    return ("request", new.principal, new.request_id)


def _once(table: str, *, key: str, columns: Mapping[str, str], more: str = "") -> str:
    """Return the statement that writes a row and the request for it: both or neither.

    `made` leaves out what the request id already stands for; a twin that took the id at this
    very moment undoes the statement, which then sees it. `more` are further CTEs.
    """
    names = ", ".join(columns)
    return f"""
    WITH i AS ({{input}}),
    made AS (
        INSERT INTO {table} ({names}) SELECT {names} FROM i
        WHERE NOT EXISTS (
            SELECT FROM request_key k
            WHERE (k.principal, k.request_id) = (i.principal, i.request_id)
        )
        ORDER BY {key} ON CONFLICT DO NOTHING RETURNING {key}
    ),
    keyed AS (
        INSERT INTO request_key (principal, request_id, thing_id, fingerprint)
        SELECT i.principal, i.request_id, i.{key}, i.fingerprint FROM i JOIN made USING ({key})
        ORDER BY i.principal, i.request_id ON CONFLICT DO NOTHING RETURNING thing_id
    ){more}
    SELECT i.ord, CASE WHEN made.{key} IS NOT NULL AND keyed.thing_id IS NULL THEN run_again()
                       ELSE made.{key} IS NOT NULL END AS made
    FROM i LEFT JOIN made USING ({key}) LEFT JOIN keyed ON keyed.thing_id = i.{key}
    """


_REQUEST = {"principal": "text", "request_id": "text", "fingerprint": "bytea"}

_FIND_REQUEST: Statement[Request, Made] = Statement(
    name="find_request",
    columns=_REQUEST,
    result=lambda row: Made(outcome=Outcome(row.outcome), thing_id=row.thing_id or ""),
    sql=f"""
    WITH i AS ({{input}})
    SELECT i.ord, k.thing_id,
           CASE WHEN k.fingerprint IS NULL THEN '{Outcome.RACE}'
                WHEN k.fingerprint = i.fingerprint THEN '{Outcome.REPLAY}'
                ELSE '{Outcome.REUSED}' END AS outcome
    FROM i LEFT JOIN request_key k ON (k.principal, k.request_id) = (i.principal, i.request_id)
    """,
)

_ADD_APP: Statement[_NewApp, bool] = Statement(
    name="add_app",
    columns=APP
    | _REQUEST
    | {"key_id": "text", "public_key_pem": "text", "key_fingerprint": "text"},
    keys_of=lambda new: [_request_of(new), ("code", new.business_code)],
    result=lambda row: bool(row.made),
    sql=_once(
        "app",
        key="app_id",
        columns=APP,
        more=""",
    first_key AS (
        INSERT INTO app_key (key_id, app_id, public_key_pem, fingerprint, create_time)
        SELECT key_id, app_id, public_key_pem, key_fingerprint, create_time
        FROM i JOIN made USING (app_id)
    )""",
    ),
)

_ADD_MERCHANT: Statement[_NewMerchant, bool] = Statement(
    name="add_merchant",
    columns=MERCHANT | _REQUEST,
    keys_of=lambda new: [_request_of(new)],
    result=lambda row: bool(row.made),
    sql=_once("merchant", key="merchant_id", columns=MERCHANT),
)

_ADD_PRODUCT: Statement[_NewProduct, bool] = Statement(
    name="add_product",
    columns=PRODUCT | _REQUEST | {"app_ids": "text[]"},
    keys_of=lambda new: [_request_of(new), ("product", new.product_code)],
    result=lambda row: bool(row.made),
    sql=_once(
        "product",
        key="product_code",
        columns=PRODUCT,
        more=""",
    users AS (
        INSERT INTO product_app (product_code, app_id)
        SELECT product_code, unnest(app_ids) FROM i JOIN made USING (product_code)
    )""",
    ),
)

_ADD_WALLET: Statement[Wallet, bool] = Statement(
    name="add_wallet",
    columns=WALLET,
    keys_of=lambda wallet: [(wallet.app_id, wallet.user_no, wallet.currency_code)],
    result=lambda row: bool(row.made),
    sql=f"""
    WITH i AS ({{input}}),
    made AS (
        INSERT INTO wallet ({", ".join(WALLET)}) SELECT {", ".join(WALLET)} FROM i
        ORDER BY app_id, user_no, currency_code ON CONFLICT DO NOTHING RETURNING wallet_id
    )
    SELECT i.ord, made.wallet_id IS NOT NULL AS made FROM i LEFT JOIN made USING (wallet_id)
    """,
)
