"""The journal as one account sees it: its entries, and its balance as of any time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from ledger.model import Account
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


async def page_of_lines(
    db: Database,
    *,
    book_id: int,
    account_id: int,
    span: Span,
    oldest_first: bool,
    include_holds: bool,
    position: int,
    size: int,
) -> tuple[Sequence[Line], int]:
    """Return up to `size` entries from `position` on (0: from the beginning), and the position
    of the page behind them, 0 when there is nothing more.

    What is booked meanwhile comes before a page of the newest first, behind one of the oldest.
    """
    [page] = await db.rows(
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
        hidden=0 if include_holds else PENDING | VOID,
    )
    # The journal only grows, so what was found stays as it was found.
    rows = await db.rows(_LINES, book_id=book_id, account_id=account_id, seqs=page.o_seqs)
    return [_line(row) for row in rows], page.o_next


async def balance_at(
    db: Database,
    *,
    book_id: int,
    account_id: int,
    time: datetime | None = None,
    acct_date: date | None = None,
) -> BalanceAt:
    """Return the balance as of `time`, or as of the end of `acct_date`."""
    [row] = await db.rows(
        _BALANCE_AT, book_id=book_id, account_id=account_id, time=time, acct_date=acct_date
    )
    return BalanceAt(posted_minor=row.o_posted, seq=row.o_seq, is_final=row.o_final)


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


_PAGE = """
SELECT o_seqs, o_next FROM statement_page(
    %(book_id)s::integer, %(account_id)s::bigint, %(since)s::timestamptz, %(until)s::timestamptz,
    %(from_date)s::date, %(to_date)s::date, %(oldest)s::boolean, %(position)s::bigint,
    %(size)s::integer, %(hidden)s::integer)
"""

# One look-up a line in each table; `OFFSET 0` keeps the planner from any other idea.
_LINES = """
SELECT t.seq, t.id, t.flags, t.is_debit, t.amount, t.balance_after, t.other_id, t.code, t.txn,
       t.ref, a.name AS other, b.acct_date, b.create_time, coalesce(v.template, '') AS template,
       coalesce(v.source_no, '') AS source_no, coalesce(v.trace_no, '') AS trace_no
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
ORDER BY s.place
"""

_BALANCE_AT = """
SELECT o_posted, o_seq, o_final FROM balance_at(
    %(book_id)s::integer, %(account_id)s::bigint, %(time)s::timestamptz, %(acct_date)s::date)
"""
