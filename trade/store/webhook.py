"""Webhooks: written by the statement that moves a resource, tried until they are taken."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from mesh.db import Database, Statement
from trade.states import WebhookState

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

    `tries` is how many there were before. `status` is HTTP's, 0 without an answer.
    """

    webhook_id: str
    app_id: str
    tries: int
    state: WebhookState
    due_time: datetime | None
    status: int
    problem: str
    ms: int
    time: datetime


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
    """Log the try and move the webhook; False when another try came first."""
    return await db.ask(_SAVE_TRY, tried)


_SAVE_TRY: Statement[Tried, bool] = Statement(
    name="save_try",
    columns={
        "webhook_id": "text",
        "app_id": "text",
        "tries": "integer",
        "state": "text",
        "due_time": "timestamptz",
        "status": "integer",
        "problem": "text",
        "ms": "integer",
        "time": "timestamptz",
    },
    keys_of=lambda tried: [tried.webhook_id],
    result=lambda row: bool(row.moved),
    sql=f"""
    WITH i AS ({{input}}),
    held AS MATERIALIZED (
        SELECT i.ord FROM i JOIN webhook w ON (w.webhook_id, w.app_id) = (i.webhook_id, i.app_id)
        WHERE w.state = '{WebhookState.PENDING}' AND w.tries = i.tries
        ORDER BY w.webhook_id FOR NO KEY UPDATE OF w
    ),
    moved AS (
        UPDATE webhook w
        SET state = i.state, due_time = i.due_time, tries = i.tries + 1, update_time = i.time
        FROM i JOIN held USING (ord) WHERE w.webhook_id = i.webhook_id RETURNING i.ord
    ),
    logged AS (
        INSERT INTO webhook_attempt
            (webhook_id, app_id, try_no, status, problem, ms, create_time)
        SELECT webhook_id, app_id, tries + 1, status, problem, ms, time FROM i
    )
    SELECT i.ord, moved.ord IS NOT NULL AS moved FROM i LEFT JOIN moved USING (ord)
    """,
)
