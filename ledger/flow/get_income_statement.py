"""Get the income statement 利润表 of closed days."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from ledger.desk import Desk
from ledger.flow._days import closed_span
from ledger.flow._subjects import IncomeTotal, ReportLine, by_code, earned, incomes, rolled_up
from ledger.store.reports import subject_totals
from ledger.store.subject import SubjectClass, list_subjects


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomeStatement:
    """Income and expenses by currency and subject; totals by currency."""

    lines: Sequence[ReportLine]
    totals: Sequence[IncomeTotal]


async def get_income_statement(
    desk: Desk, *, book_id: int, first: date, last: date
) -> IncomeStatement:
    """Return what a book earned on its closed days from `first` to `last`.

    Entries that carry a closed period into profit 损益结转 are left out, whenever they were
    booked: the statement of a period is the same before and after.

    Raises Refused, in this order: BOOK_NOT_FOUND, DAY_NOT_FOUND, DAY_NOT_CLOSED.
    """
    begin, end = await closed_span(desk, book_id=book_id, first=first, last=last)
    totals = await subject_totals(
        desk.db, book_id=book_id, first=begin.acct_date, last=end.acct_date
    )
    subjects = by_code(await list_subjects(desk.db))
    leaves = {
        (one.currency_code, one.subject_code): [-subjects[one.subject_code].normal * earned(one)]
        for one in totals
        if subjects[one.subject_code].kind is SubjectClass.PROFIT_LOSS
    }
    lines = [
        ReportLine(subject_code=code, currency_code=currency_code, amount_minor=figures[0])
        for currency_code, code, figures in rolled_up(subjects, leaves)
    ]
    return IncomeStatement(lines=lines, totals=incomes(subjects, totals))
