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
    accounts: Sequence[Row]  # account_id, name, currency_code, debit, credit, and both pending
    holds: Sequence[Row]  # Open ones: id, amount, debit and credit: the accounts
    reversals: Sequence[Row]  # id of what is reversed, amount


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """A run of blocks: how many entries they hold, and what is wrong in them."""

    entries: int
    last_hash: bytes | None
    broken_blocks: Sequence[Row]  # block_no, sealed, found: entries it says, entries it has
    broken_vouchers: Sequence[Row]  # txn, sealed, found: entries it says, entries there are
    turnover: Sequence[Row]  # account_id, debit, credit
    holds: Sequence[Row]  # id; debit_id, credit_id, amount if made here; taken; ended
    reversals: Sequence[Row]  # id of what is reversed, amount


async def books(db: Database) -> list[int]:
    """Return which books there are."""
    return [row.book_id for row in await db.rows("SELECT book_id FROM book ORDER BY book_id")]


async def head(db: Database, book_id: int) -> Head:
    """Return the head of a book and its accounts, from one snapshot."""
    rows = await db.rows(_HEAD, book_id=book_id)
    return Head(
        block_no=rows[0].head_block,
        hash=rows[0].head_hash,
        accounts=[row for row in rows if row.what == "account"],
        holds=[row for row in rows if row.what == "hold"],
        reversals=[row for row in rows if row.what == "reversal"],
    )


async def last_block(db: Database, book_id: int) -> Row:
    """Return head_block, head_hash and the acct_date of that block; of the book if it is 0."""
    [row] = await db.rows(_LAST_BLOCK, book_id=book_id)
    return row


async def hashes(
    db: Database, book_id: int, *, block_nos: Sequence[int]
) -> tuple[int, dict[int, bytes]]:
    """Return the head of a book, 0 if there is none, and the hashes of the blocks that exist."""
    rows = await db.rows(_HASHES, book_id=book_id, block_nos=list(block_nos))
    return rows[0].head_block, {row.block_no: row.hash for row in rows if row.block_no}


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
        holds=await db.rows(_HOLDS, **span),
        reversals=await db.rows(_REVERSALS, **span),
    )


# One statement, so that all of it is of one moment.
_HEAD = """
SELECT b.head_block, b.head_hash, x.what, x.account_id, x.name, x.currency_code, x.debit, x.credit,
       x.debit_pending, x.credit_pending, x.id, x.amount
FROM book b
LEFT JOIN (
    SELECT 'account' AS what, a.account_id, a.name, a.currency_code, t.debit, t.credit,
           t.debit_pending, t.credit_pending, NULL::uuid AS id, 0::bigint AS amount
    FROM balance t JOIN account a ON a.account_id = t.account_id
    WHERE t.book_id = %(book_id)s
    UNION ALL
    SELECT 'hold', 0, '', '', h.debit_id, h.credit_id, 0, 0, h.id, h.remaining
    FROM hold h WHERE h.book_id = %(book_id)s AND h.state = 0
    UNION ALL
    SELECT 'reversal', 0, '', '', 0, 0, 0, 0, r.id, r.reversed
    FROM reversal r WHERE r.book_id = %(book_id)s
) x ON true
WHERE b.book_id = %(book_id)s ORDER BY x.account_id, x.id
"""

_LAST_BLOCK = """
SELECT k.head_block, k.head_hash, coalesce(b.acct_date, k.acct_date) AS acct_date
FROM book k LEFT JOIN block b ON b.book_id = k.book_id AND b.block_no = k.head_block
WHERE k.book_id = %(book_id)s
"""

_HASHES = """
SELECT coalesce(k.head_block, 0) AS head_block, b.block_no, b.hash
FROM (SELECT %(book_id)s::integer AS book_id) x
LEFT JOIN book k ON k.book_id = x.book_id
LEFT JOIN block b ON b.book_id = x.book_id AND b.block_no = ANY (%(block_nos)s::bigint[])
ORDER BY b.block_no
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

# Holds (2), by what was done to them: made; taken in parts (64) or ended by a post (4) or a
# void (8). What was made and ended in the same run is of no interest behind it.
_HOLDS = f"""
WITH t AS ({_ENTRIES})
SELECT id, max(debit_id) FILTER (WHERE made) AS debit_id,
       max(credit_id) FILTER (WHERE made) AS credit_id, max(amount) FILTER (WHERE made) AS amount,
       coalesce(sum(amount) FILTER (WHERE part), 0)::bigint AS taken,
       bool_or(NOT made AND NOT part) AS ended
FROM (
    SELECT CASE WHEN flags & 2 <> 0 THEN id ELSE ref END AS id, debit_id, credit_id, amount,
           flags & 2 <> 0 AS made, flags & 64 <> 0 AS part
    FROM t WHERE flags & 14 <> 0
) x GROUP BY id HAVING NOT (bool_or(made) AND bool_or(NOT made AND NOT part))
"""

# Red (256) and blue (512) entries, by what they reverse.
_REVERSALS = f"""
WITH t AS ({_ENTRIES})
SELECT ref AS id, sum(abs(amount))::bigint AS amount FROM t WHERE flags & 768 <> 0 GROUP BY ref
"""
