"""What was booked for a trace, and what stands on the accounts as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from ledger.model import AccountKind, Entry, Voucher
from mesh.db import Database, Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """The accounts of one kind and currency; clearing accounts one by one, by owner."""

    kind: AccountKind
    owner: str
    currency_code: str
    debit_minor: int
    credit_minor: int
    accounts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Booked:
    """A voucher of a book with its entries, and the place of the first of them."""

    book_id: int
    seq: int
    voucher: Voucher
    entries: Sequence[Entry]


async def trace(
    db: Database, *, app_id: str, trace_no: str
) -> tuple[Sequence[Booked], Mapping[int, int]]:
    """Return the vouchers of an app's trace that are not in files, by book and place, and the
    last block of every book that is in files.
    """
    rows = await db.rows(_TRACE, app_id=app_id, trace_no=trace_no)
    of_trace = (row for row in rows if row.txn is not None)
    by_voucher = (list(group) for _, group in groupby(of_trace, key=lambda row: row.txn))
    filed = {row.of_book: row.history_block for row in rows}
    return [_booked(group) for group in by_voucher], filed


async def names_of(db: Database, account_ids: Iterable[int]) -> Mapping[int, str]:
    """Return the names of these accounts."""
    sql = "SELECT account_id, name FROM account WHERE account_id = ANY (%(ids)s::bigint[])"
    return {row.account_id: row.name for row in await db.rows(sql, ids=list(account_ids))}


async def trial_balance(db: Database) -> list[Total]:
    """Return the totals of all books, sorted by currency, kind and owner; one snapshot."""
    return [
        Total(
            kind=AccountKind(row.kind),
            owner=row.owner,
            currency_code=row.currency_code,
            debit_minor=row.debit_minor,
            credit_minor=row.credit_minor,
            accounts=row.accounts,
        )
        for row in await db.rows(_TRIAL_BALANCE, clearing=AccountKind.CLEARING)
    ]


def _booked(rows: Sequence[Row]) -> Booked:
    first = rows[0]
    return Booked(
        book_id=first.of_book,
        seq=first.seq,
        voucher=_voucher(first),
        entries=[_entry(row) for row in rows],
    )


def _voucher(row: Row) -> Voucher:
    return Voucher(
        txn=row.txn,
        template=row.template,
        source_no=row.source_no,
        trace_no=row.trace_no,
        app_id=row.app_id,
        amount_minor=row.amount_minor,
        currency_code=row.currency_code,
        create_time=row.create_time,
    )


def _entry(row: Row) -> Entry:
    return Entry(
        id=row.id,
        txn=row.txn,
        debit=row.debit,
        credit=row.credit,
        amount_minor=row.moved_minor,
        currency_code=row.currency_code,
        create_time=row.create_time,
    )


# Which books there are is said however little is found.
_TRACE = """
SELECT k.book_id AS of_book, k.history_block, v.seq, v.txn, v.template, v.source_no, v.trace_no,
       v.app_id, v.amount_minor, v.currency_code, v.create_time, t.id, t.amount AS moved_minor,
       d.name AS debit, c.name AS credit
FROM book k
LEFT JOIN (
    voucher v
    JOIN transfer t ON t.book_id = v.book_id AND t.seq BETWEEN v.seq AND v.seq + v.transfers - 1
    JOIN account d ON d.account_id = t.debit_id
    JOIN account c ON c.account_id = t.credit_id
) ON v.trace_no = %(trace_no)s AND v.app_id = %(app_id)s
 AND v.book_id = k.book_id AND v.seq > block_end(k.history_block)
ORDER BY k.book_id, t.seq
"""

_TRIAL_BALANCE = """
SELECT a.kind, CASE a.kind WHEN %(clearing)s THEN a.owner ELSE '' END AS owner,
       a.currency_code, sum(b.debit)::bigint AS debit_minor,
       sum(b.credit)::bigint AS credit_minor, count(*) AS accounts
FROM account a JOIN balance b USING (account_id)
GROUP BY 1, 2, 3 ORDER BY 3, 1, 2
"""
