"""What the books must agree with, computed anew from the rows of the journal.

The journal only grows, so it is read in slices of blocks without a snapshot. What is compared
with it is read in pages, each with the head of the book at that moment: whoever compares goes on
with the journal up to there first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import orjson

from mesh.db import Database, Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """How far a book is at a moment."""

    block_no: int
    hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some rows, how far the book was when they were read, and whether there may be more.

    `upto` is the key of the last row that was looked at; nothing between two pages was left out.
    """

    head_block: int
    rows: Sequence[Row]
    upto: Any
    more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Some blocks, `first` to `last`, that are read in one go.

    `is_filed` when they are in files: those of `acct_date`, None when no day says to have them.
    """

    first: int
    last: int
    is_filed: bool
    acct_date: date | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Filed:
    """The rows of a run that is in files, as JSON: lists of the columns of both tables."""

    entries: str
    vouchers: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """A run of blocks: how many entries they hold, what is wrong in them, what they come to."""

    entries: int
    before_hash: bytes | None  # Of the block before them, as it is stored now.
    last_hash: bytes | None
    broken_blocks: Sequence[tuple[int, bool, int, int]]  # block_no, is there, entries: said, found
    broken_vouchers: Sequence[tuple[str, int, int]]  # txn, entries: it says, there are
    turnover: Sequence[tuple[int, int, int]]  # account_id, debit, credit
    # id; accounts and amount if it was made here, else None; taken; whether it ended.
    holds: Sequence[tuple[str, int | None, int | None, int | None, int, bool]]
    reversals: Sequence[tuple[str, int]]  # id of what is reversed, amount


async def books(db: Database) -> list[int]:
    """Return which books there are."""
    return [row.book_id for row in await db.rows("SELECT book_id FROM book ORDER BY book_id")]


async def head(db: Database, book_id: int) -> Head:
    """Return how far a book is."""
    sql = "SELECT head_block, head_hash FROM book WHERE book_id = %(book_id)s"
    [row] = await db.rows(sql, book_id=book_id)
    return Head(block_no=row.head_block, hash=row.head_hash)


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


async def run_from(db: Database, book_id: int, *, first: int, upto: int, entries: int) -> Run:
    """Return the blocks from `first` on, up to `upto`, that hold about so many `entries`.

    At least one block; all of them in the database, or in the files of one day.
    """
    [row] = await db.rows(_RUN, book_id=book_id, first=first, upto=upto, entries=entries)
    return Run(first=first, last=row.last_block, is_filed=row.is_filed, acct_date=row.acct_date)


async def slice_of(
    db: Database, book_id: int, *, first: int, last: int, filed: Filed | None = None
) -> Slice | None:
    """Return what the blocks `first` to `last` of a book come to, by the rows of `filed` or, for
    None, of the database. None when these have left it since somebody looked.
    """
    span = {"book_id": book_id, "first": first, "last": last}
    if filed is None:
        [row] = await db.rows(_SLICE, **span)
        if row.history_block >= first:
            return None
    else:
        rows = {"entries": filed.entries, "vouchers": filed.vouchers}
        [row] = await db.rows(_FILED_SLICE, **span, **rows)
    return Slice(
        entries=row.entries,
        before_hash=row.before_hash,
        last_hash=row.last_hash,
        broken_blocks=orjson.loads(row.blocks),
        broken_vouchers=orjson.loads(row.vouchers),
        turnover=orjson.loads(row.turnover),
        holds=orjson.loads(row.holds),
        reversals=orjson.loads(row.reversals),
    )


async def highest_account(db: Database) -> int:
    """Return the highest id of an account in any book, 0 if there is none."""
    [row] = await db.rows("SELECT coalesce(max(account_id), 0) AS account_id FROM account")
    return int(row.account_id)


async def accounts(db: Database, book_id: int, *, after: int, size: int) -> Page:
    """Return accounts with what is on them, in the order of their ids."""
    rows = await db.rows(_ACCOUNTS, book_id=book_id, after=after, size=size)
    return _page(rows, "account_id", after=after, size=size)


async def currencies(db: Database, account_ids: Sequence[int]) -> dict[int, str]:
    """Return the currencies of accounts by their ids."""
    sql = "SELECT account_id, currency_code FROM account WHERE account_id = ANY (%(ids)s::bigint[])"
    return {one.account_id: one.currency_code for one in await db.rows(sql, ids=list(account_ids))}


async def holds(db: Database, book_id: int, *, after: str, size: int) -> Page:
    """Return holds, ended ones too, in the order of their ids."""
    rows = await db.rows(_HOLDS_PAGE, book_id=book_id, after=after, size=size)
    return _page(rows, "id", after=after, size=size)


async def holds_of(db: Database, book_id: int, ids: Sequence[str]) -> Page:
    """Return the holds with these ids, as far as there are any."""
    rows = await db.rows(_HOLDS_OF, book_id=book_id, ids=list(ids))
    return _page(rows, "id", after="", size=len(ids))


async def reversals(db: Database, book_id: int, *, after: str, size: int) -> Page:
    """Return what was reversed, and how much of it, in the order of ids."""
    rows = await db.rows(_REVERSALS_PAGE, book_id=book_id, after=after, size=size)
    return _page(rows, "id", after=after, size=size)


async def reversals_of(db: Database, book_id: int, ids: Sequence[str]) -> Page:
    """Return how much of transfers with these ids was reversed, as far as anything was."""
    rows = await db.rows(_REVERSALS_OF, book_id=book_id, ids=list(ids))
    return _page(rows, "id", after="", size=len(ids))


def _page(rows: Sequence[Row], key: str, *, after: Any, size: int) -> Page:
    found = [row for row in rows if getattr(row, key) is not None]
    return Page(
        head_block=rows[0].head_block,
        rows=found,
        upto=getattr(found[-1], key) if found else after,
        more=len(found) == size,
    )


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

# One statement each, so that the head is of the same moment.
_PAGE = """
SELECT k.head_block, x.* FROM book k LEFT JOIN ({rows}) x ON true
WHERE k.book_id = %(book_id)s ORDER BY {key}
"""
_ACCOUNTS = _PAGE.format(
    key="x.account_id",
    rows="""
    SELECT t.account_id, t.currency_code, t.debit, t.credit, t.debit_pending, t.credit_pending,
           (SELECT name FROM account a WHERE a.account_id = t.account_id) AS name
    FROM balance t WHERE t.book_id = %(book_id)s AND t.account_id > %(after)s::bigint
    ORDER BY t.account_id LIMIT %(size)s::integer
    """,
)
_HOLDS = """
    SELECT id, debit_id, credit_id, remaining, state = 0 AS is_open
    FROM hold WHERE book_id = %(book_id)s AND {which}
"""
_NEXT = "id > %(after)s::uuid ORDER BY id LIMIT %(size)s::integer"
_OF = "id = ANY (%(ids)s::uuid[])"
_HOLDS_PAGE = _PAGE.format(key="x.id", rows=_HOLDS.format(which=_NEXT))
_HOLDS_OF = _PAGE.format(key="x.id", rows=_HOLDS.format(which=_OF))
_REVERSALS = """
    SELECT id, reversed AS amount FROM reversal
    WHERE book_id = %(book_id)s AND {which}
"""
_REVERSALS_PAGE = _PAGE.format(key="x.id", rows=_REVERSALS.format(which=_NEXT))
_REVERSALS_OF = _PAGE.format(key="x.id", rows=_REVERSALS.format(which=_OF))

# A block says how many entries it has. Who changed that changes how far a slice goes, no more.
_RUN = """
SELECT least(b.last_block, coalesce(h.last_block, g.last_block)) AS last_block,
       h.acct_date, g.last_block IS NOT NULL AS is_filed
FROM book k
CROSS JOIN LATERAL (
    SELECT coalesce(max(block_no), %(first)s::bigint) AS last_block FROM (
        SELECT block_no, sum(greatest(transfers, 1)) OVER (ORDER BY block_no) AS entries
        FROM block WHERE book_id = k.book_id AND block_no >= %(first)s::bigint
         AND block_no < %(first)s::bigint + %(entries)s::bigint AND block_no <= %(upto)s::bigint
    ) x WHERE entries <= %(entries)s::bigint
) b
LEFT JOIN LATERAL (
    SELECT acct_date, last_block FROM history_day
    WHERE book_id = k.book_id AND %(first)s::bigint BETWEEN first_block AND last_block
      AND %(first)s::bigint <= k.history_block
) h ON true
LEFT JOIN LATERAL (
    SELECT coalesce(min(first_block) - 1, k.history_block) AS last_block FROM history_day
    WHERE book_id = k.book_id AND first_block > %(first)s::bigint
      AND first_block <= k.history_block
    HAVING %(first)s::bigint <= k.history_block
) g ON true
WHERE k.book_id = %(book_id)s
"""

_ENTRY_COLUMNS = """
    id uuid, debit_id bigint, credit_id bigint, amount bigint, code smallint, flags smallint,
    ref uuid, txn uuid, seq bigint
"""
_VOUCHER_COLUMNS = """
    txn uuid, template text, source_no text, trace_no text, app_id text, amount_minor bigint,
    currency_code text, create_time timestamptz, transfers smallint, seq bigint
"""


def _names(columns: str) -> str:
    return ", ".join(one.split()[0] for one in columns.split(","))


_OF_TABLES = f"""
t AS MATERIALIZED (
    SELECT {_names(_ENTRY_COLUMNS)}, seq / 8192 AS block_no FROM transfer
    WHERE book_id = %(book_id)s
      AND seq >= %(first)s::bigint * 8192 AND seq < (%(last)s::bigint + 1) * 8192
),
v AS MATERIALIZED (
    SELECT {_names(_VOUCHER_COLUMNS)} FROM voucher
    WHERE book_id = %(book_id)s
      AND seq >= %(first)s::bigint * 8192 AND seq < (%(last)s::bigint + 1) * 8192
)
"""
_OF_FILES = f"""
t AS MATERIALIZED (
    SELECT x.*, seq / 8192 AS block_no
    FROM json_to_recordset(%(entries)s::json) AS x ({_ENTRY_COLUMNS})
),
v AS MATERIALIZED (
    SELECT x.* FROM json_to_recordset(%(vouchers)s::json) AS x ({_VOUCHER_COLUMNS})
)
"""

# Blocks: each by its own rows and the hash that is stored in the block before it: when all of
# them hold, the chain does. The first entry of a voucher is sealed together with it.
#
# Vouchers: one is whole when its entries are as many as it says, and begin where it says. What was
# posted by number (flag 1024, see store/transfer.py) belongs to none, whatever its txn groups.
#
# Turnover: pending entries (2) and voids (8) move nothing. Holds (2), by what was done to them:
# made; taken in parts (64) or ended by a post (4) or a void (8); what was made and ended in the
# same run is of no interest behind it. Reversals: red (256) and blue (512), by what they reverse.
_FINDINGS = """
sealed AS (
    SELECT t.block_no, count(*) AS entries, transfers_digest(
        array_agg(t.id ORDER BY t.seq), array_agg(t.debit_id ORDER BY t.seq),
        array_agg(t.credit_id ORDER BY t.seq), array_agg(t.amount ORDER BY t.seq),
        array_agg(t.code ORDER BY t.seq), array_agg(t.flags ORDER BY t.seq),
        array_agg(t.ref ORDER BY t.seq), array_agg(t.txn ORDER BY t.seq),
        array_agg(voucher_digest(
            v.txn, v.template, v.source_no, v.trace_no, v.app_id, v.amount_minor,
            v.currency_code, v.create_time) ORDER BY t.seq)) AS digest
    FROM t LEFT JOIN v ON v.seq = t.seq
    GROUP BY t.block_no
),
broken_block AS (
    SELECT n AS block_no, b.hash IS NOT NULL AS is_there, coalesce(b.transfers, 0) AS sealed,
           coalesce(s.entries, 0) AS found
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) n
    LEFT JOIN sealed s ON s.block_no = n
    LEFT JOIN block b ON b.book_id = %(book_id)s AND b.block_no = n
    LEFT JOIN block p ON p.book_id = %(book_id)s AND p.block_no = n - 1
    WHERE (b.transfers = s.entries AND b.hash = block_hash(
        coalesce(p.hash, decode(repeat('00', 32), 'hex')), n, b.acct_date, b.create_time,
        s.digest)) IS NOT TRUE
),
broken_voucher AS (
    SELECT coalesce(v.txn, x.txn) AS txn, coalesce(v.transfers, 0) AS sealed,
           coalesce(x.entries, 0) AS found, coalesce(v.seq, x.seq) AS seq
    FROM (
        SELECT txn, min(seq) AS seq, count(*) AS entries FROM t
        WHERE flags & 1024 = 0 AND txn IS NOT NULL GROUP BY txn
    ) x FULL JOIN v ON v.txn = x.txn
    WHERE (v.seq, v.transfers) IS DISTINCT FROM (x.seq, x.entries)
),
moved AS (
    SELECT account_id, sum(debit)::bigint AS debit, sum(credit)::bigint AS credit
    FROM (
        SELECT debit_id AS account_id, amount AS debit, 0 AS credit FROM t WHERE flags & 10 = 0
        UNION ALL
        SELECT credit_id, 0, amount FROM t WHERE flags & 10 = 0
    ) x GROUP BY account_id
),
held AS (
    SELECT id, max(debit_id) FILTER (WHERE made) AS debit_id,
           max(credit_id) FILTER (WHERE made) AS credit_id,
           max(amount) FILTER (WHERE made) AS amount,
           coalesce(sum(amount) FILTER (WHERE part), 0)::bigint AS taken,
           bool_or(NOT made AND NOT part) AS ended
    FROM (
        SELECT CASE WHEN flags & 2 <> 0 THEN id ELSE ref END AS id, debit_id, credit_id, amount,
               flags & 2 <> 0 AS made, flags & 64 <> 0 AS part
        FROM t WHERE flags & 14 <> 0
    ) x GROUP BY id HAVING NOT (bool_or(made) AND bool_or(NOT made AND NOT part))
),
reversed AS (
    SELECT ref AS id, sum(abs(amount))::bigint AS amount FROM t WHERE flags & 768 <> 0 GROUP BY ref
)
SELECT k.history_block, (SELECT count(*) FROM t) AS entries,
       (SELECT hash FROM block WHERE book_id = %(book_id)s AND block_no = %(first)s::bigint - 1)
           AS before_hash,
       (SELECT hash FROM block WHERE book_id = %(book_id)s AND block_no = %(last)s::bigint)
           AS last_hash,
       (SELECT coalesce(json_agg(json_build_array(block_no, is_there, sealed, found)
                                 ORDER BY block_no), '[]') FROM broken_block)::text AS blocks,
       (SELECT coalesce(json_agg(json_build_array(txn, sealed, found) ORDER BY seq), '[]')
        FROM broken_voucher)::text AS vouchers,
       (SELECT coalesce(json_agg(json_build_array(account_id, debit, credit)), '[]')
        FROM moved)::text AS turnover,
       (SELECT coalesce(json_agg(json_build_array(id, debit_id, credit_id, amount, taken, ended)),
                        '[]') FROM held)::text AS holds,
       (SELECT coalesce(json_agg(json_build_array(id, amount)), '[]') FROM reversed)::text
           AS reversals
FROM book k WHERE k.book_id = %(book_id)s
"""
_SLICE = f"WITH {_OF_TABLES}, {_FINDINGS}"
_FILED_SLICE = f"WITH {_OF_FILES}, {_FINDINGS}"
