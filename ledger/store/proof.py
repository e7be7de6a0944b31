"""What the books must agree with, computed anew from the rows of the journal.

The journal only grows, so it is read in slices of blocks without a snapshot, up to the head
that a snapshot of the balances has seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mesh.db import Database, Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """How far a book is, and every account in it, as of one moment."""

    block_no: int
    hash: bytes
    accounts: Sequence[Row]  # account_id, name, currency_code, debit, credit


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """A run of blocks: how many entries they hold, and what is wrong in them."""

    entries: int
    last_hash: bytes | None
    broken_blocks: Sequence[Row]  # block_no, sealed, found: entries it says, entries it has
    broken_vouchers: Sequence[Row]  # txn, sealed, found: entries it says, entries there are
    turnover: Sequence[Row]  # account_id, debit, credit


async def books(db: Database) -> list[int]:
    """Return which books there are."""
    return [row.book_id for row in await db.rows("SELECT book_id FROM book ORDER BY book_id")]


async def head(db: Database, book_id: int) -> Head:
    """Return the head of a book and its accounts, from one snapshot."""
    rows = await db.rows(_HEAD, book_id=book_id)
    return Head(
        block_no=rows[0].head_block,
        hash=rows[0].head_hash,
        accounts=[row for row in rows if row.account_id is not None],
    )


async def slice_of(db: Database, book_id: int, *, first: int, last: int) -> Slice:
    """Return what the blocks `first` to `last` of a book come to."""
    span = {"book_id": book_id, "first": first, "last": last}
    blocks = await db.rows(_BLOCKS, **span)
    return Slice(
        entries=sum(row.found for row in blocks),
        last_hash=blocks[-1].hash,
        broken_blocks=[row for row in blocks if not row.holds],
        broken_vouchers=await db.rows(_VOUCHERS, **span),
        turnover=await db.rows(_TURNOVER, **span),
    )


_HEAD = """
SELECT b.head_block, b.head_hash, a.account_id, a.name, a.currency_code, t.debit, t.credit
FROM book b
LEFT JOIN balance t ON t.book_id = b.book_id
LEFT JOIN account a ON a.account_id = t.account_id
WHERE b.book_id = %(book_id)s ORDER BY a.account_id
"""

_ENTRIES = """
    SELECT id, debit_id, credit_id, amount, code, flags, ref, txn, seq, book_id,
           seq / 8192 AS block_no
    FROM transfer
    WHERE book_id = %(book_id)s
      AND seq >= %(first)s::bigint * 8192 AND seq < (%(last)s::bigint + 1) * 8192
"""

# Each block by its own rows and the hash that is stored in the block before it: when all of
# them hold, the chain does. The first entry of a voucher is sealed together with it.
_BLOCKS = f"""
WITH t AS ({_ENTRIES}),
sealed AS (
    SELECT t.block_no, count(*) AS entries, transfers_digest(
        array_agg(t.id ORDER BY t.seq), array_agg(t.debit_id ORDER BY t.seq),
        array_agg(t.credit_id ORDER BY t.seq), array_agg(t.amount ORDER BY t.seq),
        array_agg(t.code ORDER BY t.seq), array_agg(t.flags ORDER BY t.seq),
        array_agg(t.ref ORDER BY t.seq), array_agg(t.txn ORDER BY t.seq),
        array_agg(voucher_digest(
            v.txn, v.template, v.source_no, v.trace_no, v.app_id, v.amount_minor,
            v.currency_code, v.create_time) ORDER BY t.seq)) AS digest
    FROM t LEFT JOIN voucher v ON (v.book_id, v.seq) = (t.book_id, t.seq)
    GROUP BY t.block_no
)
SELECT n AS block_no, b.hash, coalesce(b.transfers, 0) AS sealed,
       coalesce(s.entries, 0) AS found,
       coalesce(b.transfers = s.entries AND b.hash = block_hash(
           coalesce(p.hash, decode(repeat('00', 32), 'hex')), n, b.acct_date, b.create_time,
           s.digest),
           false) AS holds
FROM generate_series(%(first)s::bigint, %(last)s::bigint) n
LEFT JOIN sealed s ON s.block_no = n
LEFT JOIN block b ON b.book_id = %(book_id)s AND b.block_no = n
LEFT JOIN block p ON p.book_id = %(book_id)s AND p.block_no = n - 1
ORDER BY n
"""

# A voucher is whole when its entries are as many as it says, and begin where it says. What was
# posted by number (flag 1024, see store/transfer.py) belongs to none, whatever its txn groups.
_VOUCHERS = f"""
WITH t AS (
    SELECT txn, min(seq) AS seq, count(*) AS entries FROM ({_ENTRIES}) x
    WHERE flags & 1024 = 0 AND txn IS NOT NULL GROUP BY txn
),
v AS (
    SELECT txn, seq, transfers FROM voucher
    WHERE book_id = %(book_id)s
      AND seq >= %(first)s::bigint * 8192 AND seq < (%(last)s::bigint + 1) * 8192
)
SELECT coalesce(v.txn, t.txn) AS txn, coalesce(v.transfers, 0) AS sealed,
       coalesce(t.entries, 0) AS found
FROM t FULL JOIN v ON v.txn = t.txn
WHERE (v.seq, v.transfers) IS DISTINCT FROM (t.seq, t.entries)
ORDER BY coalesce(v.seq, t.seq)
"""

# Pending entries (2) and voids (8) move nothing.
_TURNOVER = f"""
WITH t AS ({_ENTRIES})
SELECT account_id, sum(debit)::bigint AS debit, sum(credit)::bigint AS credit
FROM (
    SELECT debit_id AS account_id, amount AS debit, 0 AS credit FROM t WHERE flags & 10 = 0
    UNION ALL
    SELECT credit_id, 0, amount FROM t WHERE flags & 10 = 0
) x GROUP BY account_id
"""
