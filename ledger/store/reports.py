"""What stands on subjects over closed days, and what was booked there, for the general ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from mesh.db import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectTotal:
    """A subject without children in one currency, over closed days.

    `opening_minor` and `closing_minor` are debits less credits. `carried_minor` is the part of
    the turnover, debits less credits, that carried closed periods into profit.
    """

    subject_code: str
    currency_code: str
    opening_minor: int
    debit_minor: int
    credit_minor: int
    closing_minor: int
    carried_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VoucherPart:
    """What a template booked on a subject on one day, in one currency."""

    template_code: int
    currency_code: str
    subject_code: str
    gl_code: str
    debit_minor: int
    credit_minor: int


async def subject_totals(
    db: Database, *, book_id: int, first: date, last: date
) -> Sequence[SubjectTotal]:
    """Return every subject that ever had money, over the closed days `first` to `last`.

    Both must be days of the book. By currency and subject.
    """
    return [
        SubjectTotal(
            subject_code=row.subject_code,
            currency_code=row.currency_code,
            opening_minor=row.opening,
            debit_minor=row.debit,
            credit_minor=row.credit,
            closing_minor=row.closing,
            carried_minor=row.carried,
        )
        for row in await db.rows(_TOTALS, book_id=book_id, first=first, last=last)
    ]


async def page_of_voucher_parts(
    db: Database, *, book_id: int, acct_date: date, after: tuple[int, str], vouchers: int
) -> Sequence[VoucherPart]:
    """Return the parts of up to so many vouchers of a closed day, behind the voucher `after`.

    A voucher is a template's code and a currency; they come in that order.
    """
    code, currency_code = after
    rows = await db.rows(
        _PARTS,
        book_id=book_id,
        acct_date=acct_date,
        code=code,
        currency_code=currency_code,
        vouchers=vouchers,
    )
    return [
        VoucherPart(
            template_code=row.template_code,
            currency_code=row.currency_code,
            subject_code=row.subject_code,
            gl_code=row.gl_code,
            debit_minor=row.debit,
            credit_minor=row.credit,
        )
        for row in rows
    ]


# A subject that had no money before the first day has no row there, and every one has a row on
# the last.
_TOTALS = """
SELECT subject_code, currency_code,
       coalesce(sum(opening) FILTER (WHERE acct_date = %(first)s), 0)::bigint AS opening,
       sum(debit)::bigint AS debit, sum(credit)::bigint AS credit,
       sum(closing) FILTER (WHERE acct_date = %(last)s)::bigint AS closing,
       sum(carried)::bigint AS carried
FROM subject_day
WHERE book_id = %(book_id)s AND acct_date BETWEEN %(first)s AND %(last)s
GROUP BY subject_code, currency_code
ORDER BY currency_code COLLATE "C", subject_code COLLATE "C"
"""

_PARTS = """
WITH wanted AS (
    SELECT DISTINCT template_code, currency_code COLLATE "C" AS currency_code FROM voucher_day
    WHERE book_id = %(book_id)s AND acct_date = %(acct_date)s
      AND (template_code, currency_code COLLATE "C") > (%(code)s, %(currency_code)s)
    ORDER BY 1, 2 LIMIT %(vouchers)s
)
SELECT v.template_code, v.currency_code, v.subject_code, s.gl_code, v.debit, v.credit
FROM voucher_day v
JOIN wanted w ON (w.template_code, w.currency_code) = (v.template_code, v.currency_code)
JOIN subject s ON s.code = v.subject_code
WHERE v.book_id = %(book_id)s AND v.acct_date = %(acct_date)s
ORDER BY v.template_code, v.currency_code COLLATE "C", v.subject_code COLLATE "C"
"""
