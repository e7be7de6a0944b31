"""Reports by subject: parents are sums of their children; income and expenses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ledger.store.reports import SubjectTotal
from ledger.store.subject import Subject, SubjectClass


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportLine:
    """A subject in one currency; the amount is on its normal side, in minor units."""

    subject_code: str
    currency_code: str
    amount_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomeTotal:
    """Income 收入 and expenses 成本费用 in one currency, in minor units."""

    currency_code: str
    income_minor: int
    expenses_minor: int

    @property
    def profit_minor(self) -> int:
        """Return what is left; negative for a loss."""
        return self.income_minor - self.expenses_minor


def rolled_up(
    subjects: Mapping[str, Subject], leaves: Mapping[tuple[str, str], Sequence[int]]
) -> list[tuple[str, str, list[int]]]:
    """Return currency, subject and figures of `leaves` and of all their parents, sorted.

    The keys of `leaves` are currency and subject; a parent's figures are sums, each by itself.
    """
    sums: dict[tuple[str, str], list[int]] = {}
    for (currency_code, code), figures in leaves.items():
        at = code
        while at:
            known = sums.setdefault((currency_code, at), [0] * len(figures))
            for place, figure in enumerate(figures):
                known[place] += figure
            at = subjects[at].parent_code
    return [
        (currency_code, code, sums[currency_code, code]) for currency_code, code in sorted(sums)
    ]


def by_code(subjects: Sequence[Subject]) -> Mapping[str, Subject]:
    """Return subjects by their code."""
    return {subject.code: subject for subject in subjects}


def earned(total: SubjectTotal) -> int:
    """Return debits less credits that were booked, without what carried periods into profit."""
    return total.debit_minor - total.credit_minor - total.carried_minor


def incomes(
    subjects: Mapping[str, Subject], totals: Sequence[SubjectTotal]
) -> Sequence[IncomeTotal]:
    """Return income and expenses that were booked, by currency."""
    sums: dict[str, list[int]] = {}
    for total in totals:
        subject = subjects[total.subject_code]
        if subject.kind is SubjectClass.PROFIT_LOSS:
            both = sums.setdefault(total.currency_code, [0, 0])
            both[subject.normal < 0] -= subject.normal * earned(total)
    return [
        IncomeTotal(currency_code=currency_code, income_minor=both[0], expenses_minor=both[1])
        for currency_code, both in sorted(sums.items())
    ]
