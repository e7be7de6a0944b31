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
    dedup_key: str
    verdict: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """The attempt that a callback is about, as it is now; `is_copy`: the same came before."""

    attempt: Attempt
    is_copy: bool


async def keep_callback(db: Database, callback: NewCallback) -> Kept | None:
    """Write the callback, or count it when it is a copy, and return what it is about.

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


# A copy keeps the bytes and headers of the one that came first. Copies that come at once are
# of one key and wait for each other, so each is counted.
_KEEP_CALLBACK: Statement[NewCallback, Kept | None] = Statement(
    name="keep_callback",
    columns={
        "channel_code": "text",
        "attempt_no": "text",
        "operation": "text",
        "body": "bytea",
        "headers": "json",
        "dedup_key": "text",
        "verdict": "text",
    },
    keys_of=lambda callback: [f"{callback.attempt_no}/{callback.dedup_key}"],
    weight_of=lambda callback: len(callback.body),
    result=lambda row: (
        Kept(attempt=attempt_of(row), is_copy=row.copies > 1)
        if row.attempt_no is not None
        else None
    ),
    sql=f"""
    WITH i AS ({{input}}),
    known AS MATERIALIZED (
        SELECT i.ord, {columns_of("a")} FROM i JOIN attempt a ON a.attempt_no = i.attempt_no
        WHERE (a.channel_code, a.operation) = (i.channel_code, i.operation)
    ),
    kept AS (
        INSERT INTO callback AS c
            (channel_code, attempt_no, body, headers, dedup_key, verdict)
        SELECT i.channel_code, i.attempt_no, i.body, i.headers, i.dedup_key, i.verdict
        FROM i JOIN known USING (ord) ORDER BY i.attempt_no, i.channel_code, i.dedup_key
        ON CONFLICT (attempt_no, channel_code, dedup_key) DO UPDATE SET copies = c.copies + 1
        RETURNING c.channel_code, c.attempt_no, c.dedup_key, c.copies
    )
    SELECT i.ord, {columns_of("k")}, c.copies
    FROM i LEFT JOIN known k USING (ord)
    LEFT JOIN kept c ON (c.attempt_no, c.channel_code, c.dedup_key)
                      = (i.attempt_no, i.channel_code, i.dedup_key)
    """,
)

_LIST_CALLBACKS = """
SELECT c.callback_id, c.channel_code, c.attempt_no, c.verdict, c.create_time
FROM attempt a JOIN callback c ON c.attempt_no = a.attempt_no
WHERE a.trace_no = %(trace_no)s AND a.app_id = %(app_id)s ORDER BY c.callback_id
"""
