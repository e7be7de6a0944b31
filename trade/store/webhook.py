"""Webhooks: written by the statement that moves a resource, tried until they are taken."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from mesh.db import Database, Statement
from mesh.sql import told
from trade.states import WebhookState
from trade.store.columns import WEBHOOK, of, webhook
from trade.store.setup import Request
from trade.webhook import Webhook

WEBHOOK_COLUMNS = {"webhook_id": "text", "webhook_type": "text", "webhook_payload": "bytea"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A webhook before it is written. Without a `webhook_id` there is none."""

    webhook_id: str = ""
    type: str = ""
    payload: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """How one try to deliver went, and where the webhook is after it.

    `tries` and `resends` are how many there were before. `status` is HTTP's, 0 without an
    answer. `event` tells neighbours that nobody tries again; empty otherwise.
    """

    webhook_id: str
    app_id: str
    tries: int
    resends: int
    by_hand: bool
    state: WebhookState
    due_time: datetime | None
    status: int
    problem: str
    ms: int
    time: datetime
    event: bytes


def webhook_of(number: str) -> str:
    """Return the INSERT of the webhooks of what was `moved`; `number` is its key column."""
    return f"""
        INSERT INTO webhook (webhook_id, app_id, trace_no, number, version, type, payload,
            due_time, create_time, update_time)
        SELECT i.webhook_id, i.app_id, i.trace_no, i.{number}, i.version + 1, i.webhook_type,
            i.webhook_payload, i.update_time, i.update_time, i.update_time
        FROM i JOIN moved USING (ord) WHERE i.webhook_id <> ''
    """


async def save_try(db: Database, tried: Tried) -> bool:
    """Log the try and move the webhook.

    False when another try came first, or when somebody asked for one by hand after this one had
    begun: then that one follows.
    """
    return await db.ask(_SAVE_TRY, tried)


async def find_webhook(db: Database, *, app_id: str, webhook_id: str) -> Webhook | None:
    """Return the app's webhook."""
    return await db.ask(_FIND_WEBHOOK, _Seek(app_id=app_id, webhook_id=webhook_id))


async def resend_webhook(
    db: Database, webhook: Webhook, *, now: datetime, request: Request
) -> bool:
    """Make a try by hand due and write the request; False when the request was seen."""
    resend = _Resend(
        app_id=webhook.app_id,
        webhook_id=webhook.webhook_id,
        time=now,
        principal=request.principal,
        request_id=request.request_id,
        fingerprint=request.fingerprint,
    )
    return await db.ask(_RESEND_WEBHOOK, resend)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seek:
    app_id: str
    webhook_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Resend:
    app_id: str
    webhook_id: str
    time: datetime
    principal: str
    request_id: str
    fingerprint: bytes


_SAVE_TRY: Statement[Tried, bool] = Statement(
    name="save_try",
    columns={
        "webhook_id": "text",
        "app_id": "text",
        "tries": "integer",
        "resends": "integer",
        "by_hand": "boolean",
        "state": "text",
        "due_time": "timestamptz",
        "status": "integer",
        "problem": "text",
        "ms": "integer",
        "time": "timestamptz",
        "event": "bytea",
    },
    keys_of=lambda tried: [tried.webhook_id],
    weight_of=lambda tried: len(tried.event),
    result=lambda row: bool(row.moved),
    sql=f"""
    WITH i AS ({{input}}),
    held AS MATERIALIZED (
        SELECT i.ord FROM i JOIN webhook w ON (w.webhook_id, w.app_id) = (i.webhook_id, i.app_id)
        WHERE w.state = '{WebhookState.PENDING}' AND (w.tries, w.resends) = (i.tries, i.resends)
        ORDER BY w.webhook_id FOR NO KEY UPDATE OF w
    ),
    moved AS (
        UPDATE webhook w
        SET state = i.state, due_time = i.due_time, tries = i.tries + 1, by_hand = false,
            update_time = i.time
        FROM i JOIN held USING (ord) WHERE w.webhook_id = i.webhook_id RETURNING i.ord
    ),
    logged AS (
        INSERT INTO webhook_attempt
            (webhook_id, app_id, try_no, by_hand, status, problem, ms, create_time)
        SELECT webhook_id, app_id, tries + 1, by_hand, status, problem, ms, time FROM i
    ),
    {told("moved")}
    SELECT i.ord, moved.ord IS NOT NULL AS moved FROM i LEFT JOIN moved USING (ord)
    """,
)

_FIND_WEBHOOK: Statement[_Seek, Webhook | None] = Statement(
    name="find_webhook",
    columns={"app_id": "text", "webhook_id": "text"},
    result=lambda row: None if row.found is None else webhook(row),
    sql=f"""
    WITH i AS ({{input}})
    SELECT i.ord, w.webhook_id AS found, {of("w", WEBHOOK)}
    FROM i LEFT JOIN webhook w ON (w.webhook_id, w.app_id) = (i.webhook_id, i.app_id)
    """,
)

# Asking raises `resends`, so a try that is on its way cannot end what was asked for after it.
_RESEND_WEBHOOK: Statement[_Resend, bool] = Statement(
    name="resend_webhook",
    columns={
        "app_id": "text",
        "webhook_id": "text",
        "time": "timestamptz",
        "principal": "text",
        "request_id": "text",
        "fingerprint": "bytea",
    },
    keys_of=lambda one: [one.webhook_id, ("request", one.principal, one.request_id)],
    result=lambda row: bool(row.moved),
    sql=f"""
    WITH i AS ({{input}}),
    held AS MATERIALIZED (
        SELECT i.ord FROM i JOIN webhook w ON (w.webhook_id, w.app_id) = (i.webhook_id, i.app_id)
        WHERE NOT EXISTS (
            SELECT FROM request_key k
            WHERE (k.principal, k.request_id) = (i.principal, i.request_id)
        )
        ORDER BY w.webhook_id FOR NO KEY UPDATE OF w
    ),
    keyed AS (
        INSERT INTO request_key (principal, request_id, thing_id, fingerprint)
        SELECT i.principal, i.request_id, i.webhook_id, i.fingerprint FROM i JOIN held USING (ord)
        ORDER BY i.principal, i.request_id ON CONFLICT DO NOTHING
        RETURNING principal, request_id
    ),
    moved AS (
        UPDATE webhook w
        SET state = '{WebhookState.PENDING}', due_time = i.time, resends = w.resends + 1,
            by_hand = true, update_time = greatest(w.update_time, i.time)
        FROM i JOIN held USING (ord) JOIN keyed USING (principal, request_id)
        WHERE w.webhook_id = i.webhook_id RETURNING i.ord
    )
    SELECT i.ord, moved.ord IS NOT NULL AS moved FROM i LEFT JOIN moved USING (ord)
    """,
)
