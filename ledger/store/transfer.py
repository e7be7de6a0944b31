"""Transfers by number: what waits for a book goes there in one statement, and is looked up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache

from ledger.history.read import FiledEntry
from mesh.db import Database, Statement
from tongbao.ledger.v1 import transfer_service_pb2 as pb

TRANSFERS_MAX = 8190  # Of one block: `seq` counts places up to 8191.
# Beside the flags of `post`: belongs to no voucher. The proof of the books knows it.
FREE = 1024
OK = pb.RESULT_CODE_OK  # Where 0 is never sent; `post` says 0.


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """The transfers of one caller, a column each: values with commas between, as in an array.

    `refs`, `ttls`, `txns` may be empty: then no transfer has any.
    """

    size: int
    ids: str
    debits: str
    credits: str
    amounts: str
    codes: str
    flags: str
    refs: str = ""
    ttls: str = ""
    txns: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """What became of a call: its block, 0 when nothing was booked in it, and result codes."""

    block_no: int
    acct_date: date
    results: Sequence[pb.ResultCode.ValueType]


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of an id: its transfer, with date and time of its block; what it failed by,
    if that is remembered; or neither. Then it was never posted, unless it `may_be_filed`.
    """

    entry: FiledEntry | None = None
    acct_date: date | None = None
    create_time: datetime | None = None
    failure: pb.ResultCode.ValueType = pb.RESULT_CODE_UNSPECIFIED
    may_be_filed: bool = False


async def post_call(db: Database, call: Call, *, book_id: int) -> Posted:
    """Post the transfers of one call, in their order; see `post`."""
    return await db.ask(_post_calls(book_id), call)


async def lookup(db: Database, ids: str, *, book_id: int) -> list[Known]:
    """Return what the database knows of each id, in order."""
    rows = await db.rows(_LOOKUP, book_id=book_id, ids="{" + ids + "}")
    return [
        Known(
            entry=None if row.id is None else FiledEntry._make(row[: len(FiledEntry._fields)]),
            acct_date=row.acct_date,
            create_time=row.create_time,
            failure=row.result or pb.RESULT_CODE_UNSPECIFIED,
            may_be_filed=row.id is None and row.result is None and row.is_old,
        )
        for row in rows
    ]


async def known_filed(db: Database, entries: Sequence[FiledEntry]) -> list[Known]:
    """Return what is known of entries of one book that come from files, in their order."""
    if not entries:
        return []
    numbers = [one.block_no for one in entries]
    rows = await db.rows(_BLOCKS, book_id=entries[0].book_id, numbers=numbers)
    return [
        Known(entry=entry, acct_date=row.acct_date, create_time=row.create_time)
        for entry, row in zip(entries, rows, strict=True)
    ]


_REQUIRED = {
    "ids": "uuid",
    "debits": "bigint",
    "credits": "bigint",
    "amounts": "bigint",
    "codes": "smallint",
    "flags": "smallint",
}
_OPTIONAL = {"refs": "uuid", "ttls": "integer", "txns": "uuid"}


def _array(text: str, kind: str) -> str:
    return f"('{{' || string_agg({text}, ',' ORDER BY ord) || '}}')::{kind}[]"


def _optional(name: str, kind: str) -> str:
    """Return the array of what only some calls have, null when none of them has it."""
    padded = f"CASE {name} WHEN '' THEN rtrim(repeat('NULL,', size), ',') ELSE {name} END"
    return f"CASE WHEN bool_or({name} <> '') THEN {_array(padded, kind)} END"


# A book is one order of blocks: a second flight would only wait for its lock. Columns travel as
# text and become arrays here: a row of JSON for each transfer would cost more than to post it.
@cache
def _post_calls(book_id: int) -> Statement[Call, Posted]:
    arrays = [f"{_array(name, kind)} AS {name}" for name, kind in _REQUIRED.items()]
    arrays += [f"{_optional(name, kind)} AS {name}" for name, kind in _OPTIONAL.items()]
    return Statement(
        name=f"post_transfers_{book_id}",
        columns={"size": "integer"} | dict.fromkeys((*_REQUIRED, *_OPTIONAL), "text"),
        weight_of=lambda call: call.size,
        weight_max=TRANSFERS_MAX,
        flights_max=1,
        result=lambda row: Posted(
            block_no=row.block_no or 0, acct_date=row.acct_date, results=row.results
        ),
        sql=f"""
        WITH i AS ({{input}}),
        c AS MATERIALIZED (
            SELECT i.*, (sum(size) OVER (ORDER BY ord))::integer AS upto FROM i
        ),
        batch AS MATERIALIZED (
            SELECT {", ".join(arrays)}, array_agg(upto ORDER BY ord) AS ends FROM c
        ),
        posted AS MATERIALIZED (
            SELECT p.o_block, p.o_acct_date,
                   array_replace(p.o_result, 0::smallint, {OK}::smallint) AS results
            FROM batch b CROSS JOIN LATERAL post(
                {book_id}, b.ids, b.debits, b.credits, b.amounts, b.codes, b.flags,
                p_ref => b.refs, p_ttl => b.ttls, p_txn => b.txns, p_ends => b.ends) p
        )
        SELECT c.ord, p.results[c.upto - c.size + 1 : c.upto] AS results,
               p.o_acct_date AS acct_date, p.o_block AS block_no
        FROM c CROSS JOIN posted p
        """,
    )


_LOOKUP = f"""
SELECT {", ".join(f"t.{name}" for name in FiledEntry._fields)}, b.acct_date, b.create_time,
       r.result, g.id < k.id_floor AS is_old
FROM unnest(%(ids)s::uuid[]) WITH ORDINALITY AS g (id, nth)
JOIN book k ON k.book_id = %(book_id)s
LEFT JOIN transfer t ON (t.book_id, t.id) = (%(book_id)s, g.id)
LEFT JOIN block b ON (b.book_id, b.block_no) = (%(book_id)s, t.seq / 8192)
LEFT JOIN reject r ON (r.book_id, r.id) = (%(book_id)s, g.id)
ORDER BY g.nth
"""

_BLOCKS = """
SELECT b.acct_date, b.create_time
FROM unnest(%(numbers)s::bigint[]) WITH ORDINALITY AS n (block_no, nth)
JOIN block b ON (b.book_id, b.block_no) = (%(book_id)s, n.block_no)
ORDER BY n.nth
"""
