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


# Closed days are read from what was written of them; days that are cut and not closed from the
# journal, by their blocks: what closing has written of them so far is a draft. The open day is
# what is left of the account's sums, so the journal of a busy day is not read for it.
_DAYS = """
WITH wanted AS MATERIALIZED (
    SELECT a.account_id, a.owner, a.currency_code, b.debit, b.credit
    FROM account a JOIN balance b USING (book_id, account_id)
    WHERE a.book_id = %(book_id)s::integer AND a.kind = 'clearing'
),
past AS MATERIALIZED (
    SELECT d.account_id, d.acct_date, d.debit, d.credit
    FROM wanted w
    JOIN account_day d ON (d.book_id, d.account_id) = (%(book_id)s::integer, w.account_id)
    JOIN book_day k ON (k.book_id, k.acct_date) = (d.book_id, d.acct_date)
    WHERE k.state = 'closed'
    UNION ALL
    SELECT w.account_id, k.acct_date,
           coalesce(sum(t.amount) FILTER (WHERE t.debit_id = w.account_id), 0)::bigint,
           coalesce(sum(t.amount) FILTER (WHERE t.credit_id = w.account_id), 0)::bigint
    FROM book_day k
    JOIN transfer t ON t.book_id = k.book_id
     AND t.seq >= k.first_block * 8192 AND t.seq < (k.last_block + 1) * 8192
     AND t.flags & 10 = 0
    JOIN wanted w ON w.account_id IN (t.debit_id, t.credit_id)
    WHERE k.book_id = %(book_id)s::integer AND k.state = 'cut'
    GROUP BY w.account_id, k.acct_date
),
day AS (
    SELECT account_id, acct_date, debit, credit FROM past
    UNION ALL
    SELECT w.account_id, k.acct_date, w.debit - coalesce(p.debit, 0),
           w.credit - coalesce(p.credit, 0)
    FROM wanted w
    JOIN book k ON k.book_id = %(book_id)s::integer
    LEFT JOIN (
        SELECT account_id, sum(debit)::bigint AS debit, sum(credit)::bigint AS credit
        FROM past GROUP BY account_id
    ) p USING (account_id)
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
