"""The journal as one account sees it: its entries, and its balance as of any time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from ledger.history.read import FiledEntry, FiledVoucher
from ledger.model import Account
from ledger.store.transfer import FREE
from mesh.db import Database, Row

# Flags of an entry; see 0001_post.sql.
PENDING, POST, VOID, EXPIRY, RED, BLUE = 2, 4, 8, 128, 256, 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """What a statement is narrowed to; None does not narrow.

    By times, of which `until` is excluded, or by accounting dates, both included; not by both.
    """

    since: datetime | None = None
    until: datetime | None = None
    from_date: date | None = None
    to_date: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One entry of one account, with its booked balance after it.

    Amounts in minor units; the balance in the account's normal direction. Of an entry without a
    voucher, `template`, `source_no` and `trace_no` are empty.
    """

    seq: int
    id: UUID
    flags: int
    is_debit: bool
    amount_minor: int
    balance_after_minor: int
    other: Account
    other_id: int
    code: int
    txn: UUID | None
    ref: UUID | None
    template: str
    source_no: str
    trace_no: str
    acct_date: date
    create_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceAt:
    """A booked balance of the past, the entry that left it so (0: none), and whether it is final:
    nothing can be booked any more that would change it.
    """

    posted_minor: int
    seq: int
    is_final: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where the entries of a page are, as far as they are in the database; see `statement_page`.

    Entries up to `filed` are in files. `next` is None when the oldest come first.
    """

    seqs: Sequence[int]
    next: int | None
    after: int
    upto: int
    filed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PastBalance:
    """A balance of the past as the database knows it; see `balance_at`.

    What moved on `filed_date` up to the place `upto` is in files, and counts too.
    """

    balance: BalanceAt
    filed_date: date | None
    upto: int
    filed: int


async def places_of(
    db: Database,
    *,
    book_id: int,
    account_id: int,
    span: Span,
    oldest_first: bool,
    include_holds: bool,
    position: int,
    size: int,
) -> Places:
    """Return where up to `size` entries are from `position` on (0: from the beginning)."""
    [row] = await db.rows(
        _PAGE,
        book_id=book_id,
        account_id=account_id,
        since=span.since,
        until=span.until,
        from_date=span.from_date,
        to_date=span.to_date,
        oldest=oldest_first,
        position=position,
        size=size,
        hidden=hidden_flags(include_holds),
    )
    return Places(
        seqs=row.o_seqs, next=row.o_next, after=row.o_after, upto=row.o_upto, filed=row.o_filed
    )


def hidden_flags(include_holds: bool) -> int:
    """Return the flags of entries that are not shown."""
    return 0 if include_holds else PENDING | VOID


async def lines_of(
    db: Database, *, book_id: int, account_id: int, seqs: Sequence[int]
) -> tuple[Sequence[Line], int]:
    """Return the entries at these places, in their order, and up to where entries are in files.

    A place up to there may be missing.
    """
    rows = await db.rows(_LINES, book_id=book_id, account_id=account_id, seqs=seqs)
    return [_line(row) for row in rows if row.seq is not None], rows[0].filed


async def lines_of_filed(
    db: Database,
    *,
    account_id: int,
    entries: Sequence[FiledEntry],
    vouchers: Mapping[UUID, FiledVoucher],
) -> Sequence[Line]:
    """Return entries of one book that come from files, in their order, as its account sees them."""
    if not entries:
        return []
    others = [one.credit_id if one.debit_id == account_id else one.debit_id for one in entries]
    rows = await db.rows(
        _FILED_LINES,
        book_id=entries[0].book_id,
        blocks=[one.block_no for one in entries],
        others=others,
    )
    return [
        _filed_line(entry, row, vouchers, account_id)
        for entry, row in zip(entries, rows, strict=True)
    ]


async def balance_at(
    db: Database,
    *,
    book_id: int,
    account_id: int,
    time: datetime | None = None,
    acct_date: date | None = None,
) -> PastBalance:
    """Return the balance as of `time`, or as of the end of `acct_date`."""
    [row] = await db.rows(
        _BALANCE_AT, book_id=book_id, account_id=account_id, time=time, acct_date=acct_date
    )
    return PastBalance(
        balance=BalanceAt(posted_minor=row.o_posted, seq=row.o_seq, is_final=row.o_final),
        filed_date=row.o_filed_date,
        upto=row.o_upto,
        filed=row.o_filed,
    )


async def filed_end(db: Database, book_id: int) -> int:
    """Return the last place of what is in files."""
    [row] = await db.rows("SELECT filed_end(%(book_id)s) AS filed", book_id=book_id)
    return int(row.filed)


def _line(row: Row) -> Line:
    return Line(
        seq=row.seq,
        id=row.id,
        flags=row.flags,
        is_debit=row.is_debit,
        amount_minor=row.amount,
        balance_after_minor=row.balance_after,
        other=Account.of(row.other),
        other_id=row.other_id,
        code=row.code,
        txn=row.txn,
        ref=row.ref,
        template=row.template,
        source_no=row.source_no,
        trace_no=row.trace_no,
        acct_date=row.acct_date,
        create_time=row.create_time,
    )


def _filed_line(
    entry: FiledEntry, row: Row, vouchers: Mapping[UUID, FiledVoucher], account_id: int
) -> Line:
    is_debit = entry.debit_id == account_id
    voucher = vouchers.get(entry.txn) if entry.txn and not entry.flags & FREE else None
    return Line(
        seq=entry.seq,
        id=entry.id,
        flags=entry.flags,
        is_debit=is_debit,
        amount_minor=entry.amount,
        balance_after_minor=entry.debit_after if is_debit else entry.credit_after,
        other=Account.of(row.other),
        other_id=entry.credit_id if is_debit else entry.debit_id,
        code=entry.code,
        txn=entry.txn,
        ref=entry.ref,
        template=voucher.template if voucher else "",
        source_no=voucher.source_no if voucher else "",
        trace_no=voucher.trace_no if voucher else "",
        acct_date=row.acct_date,
        create_time=row.create_time,
    )


_PAGE = """
SELECT o_seqs, o_next, o_after, o_upto, o_filed FROM statement_page(
    %(book_id)s::integer, %(account_id)s::bigint, %(since)s::timestamptz, %(until)s::timestamptz,
    %(from_date)s::date, %(to_date)s::date, %(oldest)s::boolean, %(position)s::bigint,
    %(size)s::integer, %(hidden)s::integer)
"""

# One look-up a line in each table; `OFFSET 0` keeps the planner from any other idea. The border
# is that of the moment at which the lines are read.
_LINES = """
SELECT t.seq, t.id, t.flags, t.is_debit, t.amount, t.balance_after, t.other_id, t.code, t.txn,
       t.ref, t.other, t.acct_date, t.create_time, t.template, t.source_no, t.trace_no, f.filed
FROM filed_end(%(book_id)s::integer) AS f (filed)
LEFT JOIN (
    SELECT s.place, t.seq, t.id, t.flags, t.is_debit, t.amount, t.balance_after, t.other_id,
           t.code, t.txn, t.ref, a.name AS other, b.acct_date, b.create_time,
           coalesce(v.template, '') AS template, coalesce(v.source_no, '') AS source_no,
           coalesce(v.trace_no, '') AS trace_no
    FROM unnest(%(seqs)s::bigint[]) WITH ORDINALITY AS s (seq, place)
    CROSS JOIN LATERAL (
        SELECT x.seq, x.id, x.flags, x.amount, x.code, x.txn, x.ref,
               x.debit_id = %(account_id)s::bigint AS is_debit,
               CASE WHEN x.debit_id = %(account_id)s::bigint THEN x.debit_after
                    ELSE x.credit_after END AS balance_after,
               CASE WHEN x.debit_id = %(account_id)s::bigint THEN x.credit_id
                    ELSE x.debit_id END AS other_id
        FROM transfer x WHERE (x.book_id, x.seq) = (%(book_id)s::integer, s.seq) OFFSET 0
    ) t
    JOIN account a ON a.account_id = t.other_id
    JOIN block b ON (b.book_id, b.block_no) = (%(book_id)s::integer, t.seq / 8192)
    LEFT JOIN LATERAL (
        SELECT x.template, x.source_no, x.trace_no FROM voucher x
        WHERE (x.txn, x.book_id) = (t.txn, %(book_id)s::integer) AND t.flags & 1024 = 0 OFFSET 0
    ) v ON true
) t ON true
ORDER BY t.place
"""

# What stays in the database for ever of entries that do not.
_FILED_LINES = """
SELECT a.name AS other, b.acct_date, b.create_time
FROM unnest(%(blocks)s::bigint[], %(others)s::bigint[]) WITH ORDINALITY
     AS s (block_no, other_id, place)
JOIN account a ON a.account_id = s.other_id
JOIN block b ON (b.book_id, b.block_no) = (%(book_id)s::integer, s.block_no)
ORDER BY s.place
"""

_BALANCE_AT = """
SELECT o_posted, o_seq, o_final, o_filed_date, o_upto, o_filed FROM balance_at(
    %(book_id)s::integer, %(account_id)s::bigint, %(time)s::timestamptz, %(acct_date)s::date)
"""
