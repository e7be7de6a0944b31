"""Transfers by number: what waits for a book goes there in one statement, and is looked up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache

from mesh.db import Database, Row, Statement
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


async def post_call(db: Database, call: Call, *, book_id: int) -> Posted:
    """Post the transfers of one call, in their order; see `post`."""
    return await db.ask(_post_calls(book_id), call)


async def lookup(db: Database, ids: str, *, book_id: int) -> list[Row]:
    """Return what is known of each id, in order: its transfer, what it failed by, or neither."""
    return await db.rows(_LOOKUP, book_id=book_id, ids="{" + ids + "}")


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


_LOOKUP = """
SELECT t.id, t.debit_id, t.credit_id, t.amount, t.code, t.flags, t.ref, t.txn, t.debit_after,
       t.credit_after, t.seq / 8192 AS block_no, (t.seq %% 8192)::integer AS place,
       b.acct_date, b.create_time, r.result
FROM unnest(%(ids)s::uuid[]) WITH ORDINALITY AS g (id, nth)
LEFT JOIN transfer t ON (t.book_id, t.id) = (%(book_id)s, g.id)
LEFT JOIN block b ON (b.book_id, b.block_no) = (%(book_id)s, t.seq / 8192)
LEFT JOIN reject r ON (r.book_id, r.id) = (%(book_id)s, g.id)
ORDER BY g.nth
"""
