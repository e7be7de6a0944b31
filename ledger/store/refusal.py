"""Telling of a refusal, once."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from mesh.db import Database, Statement


async def tell_once(db: Database, txn: UUID, *, book_id: int, event: bytes) -> bool:
    """Publish `event` unless the refusal of this voucher was told before; return whether."""
    return await db.ask(_TELL, _Told(txn=txn, book_id=book_id, event=event))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    txn: UUID
    book_id: int
    event: bytes


_TELL: Statement[_Told, bool] = Statement(
    name="tell_refusals",
    columns={"txn": "uuid", "book_id": "integer", "event": "bytea"},
    keys_of=lambda told: (told.txn,),
    weight_of=lambda told: len(told.event),
    result=lambda row: bool(row.is_told),
    sql="""
    WITH i AS ({input}),
    new AS (
        INSERT INTO refusal_told (txn, book_id)
        SELECT txn, book_id FROM i ORDER BY book_id, txn
        ON CONFLICT DO NOTHING RETURNING txn, book_id
    ),
    told AS (
        INSERT INTO outbox (events)
        SELECT string_agg(i.event, '' ORDER BY i.ord) FROM i JOIN new USING (txn, book_id)
        HAVING count(*) > 0
    )
    SELECT i.ord, new.txn IS NOT NULL AS is_told FROM i LEFT JOIN new USING (txn, book_id)
    """,
)
