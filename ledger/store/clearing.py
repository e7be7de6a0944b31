"""Clearing accounts 待清算: what stands on them, and what was booked on each accounting day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from mesh.db import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Turnover:
    """What was booked on an account on one accounting day, in minor units."""

    acct_date: date
    debit_minor: int
    credit_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearingAccount:
    """A clearing account with all its days, the newest first. What a channel owes us is positive.

    `channel_code` is `balance` for that of wallets.
    """

    channel_code: str
    currency_code: str
    balance_minor: int
    days: Sequence[Turnover]


async def clearing_accounts(
    db: Database, *, book_id: int
) -> tuple[date, Sequence[ClearingAccount]] | None:
    """Return the date a book is at and its clearing accounts, by currency and channel; one
    snapshot. None when there is no such book.
    """
    rows = await db.rows(_DAYS, book_id=book_id)
    if not rows:
        return None
    return rows[0].book_date, [
        ClearingAccount(
            channel_code=row.owner,
            currency_code=row.currency_code,
            balance_minor=row.balance,
            days=[
                Turnover(acct_date=day, debit_minor=debit, credit_minor=credit)
                for day, debit, credit in zip(row.days, row.debits, row.credits, strict=True)
            ],
        )
        for row in rows
        if row.owner is not None
    ]


# What was booked on a day is what stood at its cut less what stood at the cut before; on the open
# day, what stands now less that.
_DAYS = """
WITH wanted AS MATERIALIZED (
    SELECT a.account_id, a.owner, a.currency_code, b.debit, b.credit
    FROM account a JOIN balance b USING (book_id, account_id)
    WHERE a.book_id = %(book_id)s::integer AND a.kind = 'clearing'
),
stood AS (
    SELECT c.account_id, c.acct_date, c.debit, c.credit
    FROM wanted w
    JOIN clearing_cut c ON (c.book_id, c.account_id) = (%(book_id)s::integer, w.account_id)
    UNION ALL
    SELECT w.account_id, k.acct_date, w.debit, w.credit
    FROM wanted w JOIN book k ON k.book_id = %(book_id)s::integer
),
day AS (
    SELECT account_id, acct_date, debit - coalesce(lag(debit) OVER days, 0) AS debit,
           credit - coalesce(lag(credit) OVER days, 0) AS credit
    FROM stood WINDOW days AS (PARTITION BY account_id ORDER BY acct_date)
)
SELECT k.acct_date AS book_date, w.owner, w.currency_code, w.debit - w.credit AS balance,
       d.days, d.debits, d.credits
FROM book k
LEFT JOIN wanted w ON true
LEFT JOIN (
    SELECT account_id, array_agg(acct_date ORDER BY acct_date DESC) AS days,
           array_agg(debit::bigint ORDER BY acct_date DESC) AS debits,
           array_agg(credit::bigint ORDER BY acct_date DESC) AS credits
    FROM day GROUP BY account_id
) d USING (account_id)
WHERE k.book_id = %(book_id)s::integer
ORDER BY w.currency_code COLLATE "C", w.owner COLLATE "C"
"""
