"""Statements about callbacks as they came."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from channel.model import Attempt, Callback
from channel.store.attempt import attempt_of, columns_of
from mesh.db import Database, Statement


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCallback:
    """A verified callback: which attempt it says it is about, what it says, how it came."""

    channel_code: str
    attempt_no: str
    operation: str
    body: bytes
    headers: Mapping[str, str]
    verdict: str


async def keep_callback(db: Database, callback: NewCallback) -> Attempt | None:
    """Write the callback and return the attempt that it is about, as it is now.

    None, and nothing is written, when this account was never given an order of this number
    and kind. The tenant is the attempt's: providers know no tenants.
    """
    return await db.ask(_KEEP_CALLBACK, callback)


async def list_callbacks(db: Database, *, app_id: str, trace_no: str) -> list[Callback]:
    """Return the callbacks about the attempts of a trace, oldest first."""
    rows = await db.rows(_LIST_CALLBACKS, app_id=app_id, trace_no=trace_no)
    return [
        Callback(
            callback_id=row.callback_id,
            channel_code=row.channel_code,
            attempt_no=row.attempt_no,
            verdict=row.verdict,
            create_time=row.create_time,
        )
        for row in rows
    ]


_KEEP_CALLBACK: Statement[NewCallback, Attempt | None] = Statement(
    name="keep_callback",
    columns={
        "channel_code": "text",
        "attempt_no": "text",
        "operation": "text",
        "body": "bytea",
        "headers": "json",
        "verdict": "text",
    },
    weight_of=lambda callback: len(callback.body),
    result=lambda row: attempt_of(row) if row.attempt_no is not None else None,
    sql=f"""
    WITH i AS ({{input}}),
    known AS MATERIALIZED (
        SELECT i.ord, {columns_of("a")} FROM i JOIN attempt a ON a.attempt_no = i.attempt_no
        WHERE (a.channel_code, a.operation) = (i.channel_code, i.operation)
    ),
    kept AS (
        INSERT INTO callback (channel_code, attempt_no, body, headers, verdict)
        SELECT i.channel_code, i.attempt_no, i.body, i.headers, i.verdict
        FROM i JOIN known USING (ord) ORDER BY i.ord
    )
    SELECT i.ord, {columns_of("k")} FROM i LEFT JOIN known k USING (ord)
    """,
)

_LIST_CALLBACKS = """
SELECT c.callback_id, c.channel_code, c.attempt_no, c.verdict, c.create_time
FROM attempt a JOIN callback c ON c.attempt_no = a.attempt_no
WHERE a.trace_no = %(trace_no)s AND a.app_id = %(app_id)s ORDER BY c.callback_id
"""
