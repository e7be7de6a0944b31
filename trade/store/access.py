"""How an app gets in and is told: read, and changed once per request by version.

What is decided on an app as it was read is written only if nobody has changed it since: every
change of its access raises the version of its row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from mesh.db import Database, Row, Statement
from trade.access import AppKey, Endpoint, Keys
from trade.store.setup import Request


async def find_endpoint(db: Database, *, app_id: str) -> Endpoint:
    """Return where the webhooks of an app go that exists."""
    return await db.ask(_FIND_ENDPOINT, _Seek(app_id=app_id))


async def find_all_keys(db: Database, *, app_id: str) -> Keys:
    """Return the keys of an app that exists, retired ones too."""
    return await db.ask(_FIND_ALL_KEYS, _Seek(app_id=app_id))


async def change_endpoint(db: Database, after: Endpoint, *, request: Request) -> bool:
    """Write the endpoint and the request; False, and nothing, when either is not current."""
    change = _ChangedEndpoint(
        app_id=after.app_id,
        version=after.version,
        principal=request.principal,
        request_id=request.request_id,
        fingerprint=request.fingerprint,
        thing_id=after.app_id,
        webhook_url=after.url,
        webhook_secret=after.secret,
        old_secret=after.old_secret,
        old_secret_until=after.old_secret_until,
    )
    return await db.ask(_CHANGE_ENDPOINT, change)


async def put_key(db: Database, key: AppKey, *, version: int, request: Request) -> bool:
    """Write the key, new or retired, and the request; False when either is not current."""
    change = _ChangedKey(
        app_id=key.app_id,
        version=version,
        principal=request.principal,
        request_id=request.request_id,
        fingerprint=request.fingerprint,
        thing_id=key.key_id,
        public_key_pem=key.public_key_pem,
        key_fingerprint=key.fingerprint,
        retire_time=key.retire_time,
        create_time=key.create_time,
    )
    return await db.ask(_PUT_KEY, change)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seek:
    app_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    app_id: str
    version: int
    principal: str
    request_id: str
    fingerprint: bytes
    thing_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _ChangedEndpoint(_Change):
    webhook_url: str
    webhook_secret: bytes
    old_secret: bytes | None
    old_secret_until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _ChangedKey(_Change):
    public_key_pem: str
    key_fingerprint: str
    retire_time: datetime | None
    create_time: datetime


def _endpoint(row: Row) -> Endpoint:
    assert row.app_id is not None, "apps are never deleted"
    return Endpoint(
        app_id=row.app_id,
        version=row.version,
        url=row.webhook_url,
        secret=row.webhook_secret,
        old_secret=row.old_secret,
        old_secret_until=row.old_secret_until,
    )


def _keys(row: Row) -> Keys:
    assert row.version is not None, "apps are never deleted"
    found = zip(row.key_ids, row.pems, row.fingerprints, row.retired, row.created, strict=True)
    return Keys(
        version=row.version,
        keys=[
            AppKey(
                key_id=key_id,
                app_id=row.app_id,
                public_key_pem=pem,
                fingerprint=fingerprint,
                retire_time=retired,
                create_time=created,
            )
            for key_id, pem, fingerprint, retired, created in found
        ],
    )


def _changed(sets: Mapping[str, str], *, more: str = "") -> str:
    """Return the statement that changes an app by version, once per request.

    `held` locks the app and sees it as it is now; `keyed` takes the request, and a twin that
    took it at this very moment undoes the statement, which then sees it. `more` are further
    CTEs, written for what was `changed`.
    """
    assigned = "".join(f"{column} = {value}, " for column, value in sets.items())
    return f"""
    WITH i AS ({{input}}),
    held AS MATERIALIZED (
        SELECT i.ord FROM i JOIN app a ON a.app_id = i.app_id
        WHERE a.version = i.version AND NOT EXISTS (
            SELECT FROM request_key k
            WHERE (k.principal, k.request_id) = (i.principal, i.request_id)
        )
        ORDER BY a.app_id FOR NO KEY UPDATE OF a
    ),
    changed AS (
        UPDATE app a SET {assigned}version = i.version + 1
        FROM i JOIN held USING (ord) WHERE a.app_id = i.app_id RETURNING i.ord
    ),
    keyed AS (
        INSERT INTO request_key (principal, request_id, thing_id, fingerprint)
        SELECT i.principal, i.request_id, i.thing_id, i.fingerprint
        FROM i JOIN changed USING (ord)
        ORDER BY i.principal, i.request_id ON CONFLICT DO NOTHING
        RETURNING principal, request_id
    ){more}
    SELECT i.ord, CASE WHEN changed.ord IS NOT NULL AND k.request_id IS NULL THEN run_again()
                       ELSE changed.ord IS NOT NULL END AS changed
    FROM i LEFT JOIN changed USING (ord)
    LEFT JOIN keyed k ON (k.principal, k.request_id) = (i.principal, i.request_id)
    """


_CHANGE = {
    "app_id": "text",
    "version": "bigint",
    "principal": "text",
    "request_id": "text",
    "fingerprint": "bytea",
    "thing_id": "text",
}


def _excludes(change: _Change) -> list[tuple[str, ...]]:
    return [("app", change.app_id), ("request", change.principal, change.request_id)]


_FIND_ENDPOINT: Statement[_Seek, Endpoint] = Statement(
    name="find_endpoint",
    columns={"app_id": "text"},
    result=_endpoint,
    sql="""
    WITH i AS ({input})
    SELECT i.ord, a.app_id, a.version, a.webhook_url, a.webhook_secret, a.old_secret,
           a.old_secret_until
    FROM i LEFT JOIN app a ON a.app_id = i.app_id
    """,
)

_FIND_ALL_KEYS: Statement[_Seek, Keys] = Statement(
    name="find_all_keys",
    columns={"app_id": "text"},
    result=_keys,
    sql="""
    WITH i AS ({input})
    SELECT i.ord, i.app_id, a.version, k.*
    FROM i LEFT JOIN app a ON a.app_id = i.app_id
    CROSS JOIN LATERAL (
        SELECT array_agg(key_id ORDER BY key_id) AS key_ids,
               array_agg(public_key_pem ORDER BY key_id) AS pems,
               array_agg(fingerprint ORDER BY key_id) AS fingerprints,
               array_agg(retire_time ORDER BY key_id) AS retired,
               array_agg(create_time ORDER BY key_id) AS created
        FROM app_key WHERE app_id = i.app_id
    ) k
    """,
)

_CHANGE_ENDPOINT: Statement[_ChangedEndpoint, bool] = Statement(
    name="change_endpoint",
    columns=_CHANGE
    | {
        "webhook_url": "text",
        "webhook_secret": "bytea",
        "old_secret": "bytea",
        "old_secret_until": "timestamptz",
    },
    keys_of=_excludes,
    result=lambda row: bool(row.changed),
    sql=_changed(
        {
            "webhook_url": "i.webhook_url",
            "webhook_secret": "i.webhook_secret",
            "old_secret": "i.old_secret",
            "old_secret_until": "i.old_secret_until",
        }
    ),
)

_PUT_KEY: Statement[_ChangedKey, bool] = Statement(
    name="put_key",
    columns=_CHANGE
    | {
        "public_key_pem": "text",
        "key_fingerprint": "text",
        "retire_time": "timestamptz",
        "create_time": "timestamptz",
    },
    keys_of=_excludes,
    result=lambda row: bool(row.changed),
    sql=_changed(
        {},
        more=""",
    put AS (
        INSERT INTO app_key (key_id, app_id, public_key_pem, fingerprint, retire_time, create_time)
        SELECT i.thing_id, i.app_id, i.public_key_pem, i.key_fingerprint, i.retire_time,
            i.create_time
        FROM i JOIN changed USING (ord) ORDER BY i.thing_id
        ON CONFLICT (key_id) DO UPDATE SET retire_time = excluded.retire_time
    )""",
    ),
)
