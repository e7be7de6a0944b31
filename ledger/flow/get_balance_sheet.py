"""Get the balance sheet 资产负债表 as of the end of a closed day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from ledger.desk import Desk
from ledger.flow._days import closed_span
from ledger.flow._subjects import ReportLine, by_code, rolled_up
from ledger.store.reports import SubjectTotal, subject_totals
from ledger.store.subject import Subject, SubjectClass, list_subjects


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetTotal:
    """The two sides in one currency, in minor units. `income_minor` are income and expenses
    that were not carried into profit yet 未结转损益."""

    currency_code: str
    assets_minor: int
    liabilities_minor: int
    equity_minor: int
    income_minor: int

    @property
    def balanced(self) -> bool:
        """Return whether assets are what liabilities, equity and income come to."""
        return self.assets_minor == self.liabilities_minor + self.equity_minor + self.income_minor


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceSheet:
    """Assets, liabilities and equity by currency and subject; totals by currency."""

    lines: Sequence[ReportLine]
    totals: Sequence[SheetTotal]


async def get_balance_sheet(desk: Desk, *, book_id: int, acct_date: date) -> BalanceSheet:
    """Return the balance sheet of a book as of the end of `acct_date`.

    Raises Refused, in this order: BOOK_NOT_FOUND, DAY_NOT_FOUND when the book begins later,
    DAY_NOT_CLOSED.
    """
    _, end = await closed_span(desk, book_id=book_id, first=date.min, last=acct_date)
    totals = await subject_totals(desk.db, book_id=book_id, first=end.acct_date, last=end.acct_date)
    subjects = by_code(await list_subjects(desk.db))
    leaves = {
        (one.currency_code, one.subject_code): [
            -subjects[one.subject_code].normal * one.closing_minor
        ]
        for one in totals
        if subjects[one.subject_code].kind is not SubjectClass.PROFIT_LOSS
    }
    lines = [
        ReportLine(subject_code=code, currency_code=currency_code, amount_minor=figures[0])
        for currency_code, code, figures in rolled_up(subjects, leaves)
    ]
    return BalanceSheet(lines=lines, totals=_totals(subjects, totals))


def _totals(
    subjects: Mapping[str, Subject], totals: Sequence[SubjectTotal]
) -> Sequence[SheetTotal]:
    sums: dict[str, dict[SubjectClass, int]] = {}
    for one in totals:
        known = sums.setdefault(one.currency_code, dict.fromkeys(SubjectClass, 0))
        known[subjects[one.subject_code].kind] += one.closing_minor
    return [
        SheetTotal(
            currency_code=currency_code,
            # Work in progress 成本 and clearing with others 共同 are assets until they end.
            assets_minor=known[SubjectClass.ASSET]
            + known[SubjectClass.COMMON]
            + known[SubjectClass.COST],
            liabilities_minor=-known[SubjectClass.LIABILITY],
            equity_minor=-known[SubjectClass.EQUITY],
            income_minor=-known[SubjectClass.PROFIT_LOSS],
        )
        for currency_code, known in sorted(sums.items())
    ]
