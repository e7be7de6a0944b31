"""Booking: one statement for all chains that wait, one flight at a time for each book."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache
from uuid import UUID

from ledger.model import Outcome, PostingResult, Voucher
from mesh.db import Database, Row, Statement

# A message holds at most 512 events, so 512 KiB are shared out by at least this much each.
_EVENT_BYTES_MIN = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain(Voucher):
    """A voucher and its transfers, one list per column; the event goes out if it is booked."""

    event: bytes
    ids: Sequence[UUID]
    debits: Sequence[int]
    credits: Sequence[int]
    amounts: Sequence[int]
    codes: Sequence[int]


async def post_chain(db: Database, chain: Chain, *, book_id: int) -> PostingResult:
    """Book the chain whole or not at all, once, with its voucher and its event."""
    return await db.ask(_post_chains(book_id), chain)


async def post_late_chain(
    db: Database, chain: Chain, *, book_id: int, floor: UUID
) -> PostingResult | None:
    """Book a chain that was found TOO_OLD, and is not in files that go as far as `floor`.

    Return None, and book nothing, when more has left the database since.
    """
    said = {field.name: getattr(chain, field.name) for field in fields(chain)}
    return await db.ask(_post_late_chains(book_id), _LateChain(**said, floor=floor))


async def forbid_chain(db: Database, txn: UUID, *, book_id: int) -> bool | None:
    """Refuse the chain of this voucher for ever unless it is booked; return whether it is.

    Return None, and refuse nothing, when it is too old for the database to say.
    """
    return await db.ask(_FORBID_CHAINS, _Forbidden(txn=txn, book_id=book_id))


async def forbid_late_chain(db: Database, txn: UUID, *, book_id: int, floor: UUID) -> bool | None:
    """Refuse a chain that is too old for the database, and is not in files as far as `floor`.

    Return whether it is booked; None, and nothing is done, when more has left the database since.
    """
    rows = await db.rows(_FORBID_LATE_CHAIN, book_id=book_id, floor=floor, txn=txn)
    return bool(rows[0].is_booked) if rows else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _LateChain(Chain):
    floor: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class _Forbidden:
    txn: UUID
    book_id: int


def _result(row: Row) -> PostingResult:
    return PostingResult(outcome=Outcome(row.outcome), refusal=row.refusal)


_COLUMNS = {
    "txn": "uuid",
    "template": "text",
    "source_no": "text",
    "trace_no": "text",
    "app_id": "text",
    "amount_minor": "bigint",
    "currency_code": "text",
    "create_time": "timestamptz",
    "event": "bytea",
    "ids": "uuid[]",
    "debits": "bigint[]",
    "credits": "bigint[]",
    "amounts": "bigint[]",
    "codes": "smallint[]",
}
_CHAIN = f"ROW({', '.join(f'i.{name}' for name in _COLUMNS)})::chain"


# A book is one order of blocks: a second flight would only wait for its lock. The key keeps
# two chains of one event out of one batch, so that a repeat meets what became of the first.
@cache
def _post_chains(book_id: int) -> Statement[Chain, PostingResult]:
    return Statement(
        name=f"post_chains_{book_id}",
        columns=_COLUMNS,
        keys_of=lambda chain: (chain.txn,),
        weight_of=lambda chain: max(len(chain.event), _EVENT_BYTES_MIN),
        flights_max=1,
        result=_result,
        sql=f"""
        WITH i AS ({{input}}),
        batch AS (SELECT array_agg({_CHAIN} ORDER BY i.ord) AS chains FROM i)
        -- The function writes journal, vouchers and outbox.
        SELECT (r.place - 1)::integer AS ord, r.outcome, r.refusal
        FROM batch CROSS JOIN LATERAL post_chains({book_id}, batch.chains) r
        """,
    )


@cache
def _post_late_chains(book_id: int) -> Statement[_LateChain, PostingResult | None]:
    return Statement(
        name=f"post_late_chains_{book_id}",
        columns=_COLUMNS | {"floor": "uuid"},
        keys_of=lambda chain: (chain.txn,),
        weight_of=lambda chain: max(len(chain.event), _EVENT_BYTES_MIN),
        flights_max=1,
        result=lambda row: None if row.outcome is None else _result(row),
        sql=f"""
        WITH i AS ({{input}})
        -- The function writes journal, vouchers and outbox.
        SELECT i.ord, r.outcome, r.refusal
        FROM i LEFT JOIN LATERAL post_late_chain({book_id}, i.floor, {_CHAIN}) r ON true
        """,
    )


# Books in their order: two replicas lock them alike.
_FORBID_CHAINS: Statement[_Forbidden, bool | None] = Statement(
    name="forbid_chains",
    columns={"txn": "uuid", "book_id": "integer"},
    keys_of=lambda forbidden: (forbidden.txn,),
    result=lambda row: row.is_booked,
    sql="""
    WITH i AS ({input}),
    batch AS MATERIALIZED (
        SELECT book_id, array_agg(txn ORDER BY ord) AS txns, array_agg(ord ORDER BY ord) AS ords
        FROM i GROUP BY book_id ORDER BY book_id
    )
    -- The function writes what is refused.
    SELECT batch.ords[f.place] AS ord, f.is_booked
    FROM batch CROSS JOIN LATERAL forbid_chains(batch.book_id, batch.txns) f
    """,
)

_FORBID_LATE_CHAIN = """
SELECT is_booked FROM forbid_late_chain(%(book_id)s, %(floor)s, %(txn)s)
"""
