"""Get the trial balance 试算平衡表 of closed days."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from ledger.desk import Desk
from ledger.flow._days import closed_span
from ledger.flow._subjects import by_code, rolled_up
from ledger.store.reports import SubjectTotal, subject_totals
from ledger.store.subject import list_subjects


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """Debit and credit, in minor units."""

    debit_minor: int
    credit_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialLine:
    """A subject in one currency: before the days, booked on them, after them."""

    subject_code: str
    currency_code: str
    opening: Sides
    turnover: Sides
    closing: Sides


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialTotal:
    """All subjects of one currency. `balanced`: debits are credits in all three, and of every
    subject opening and turnover come to closing."""

    currency_code: str
    opening: Sides
    turnover: Sides
    closing: Sides
    balanced: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialBalance:
    """Lines by currency and subject, totals by currency."""

    lines: Sequence[TrialLine]
    totals: Sequence[TrialTotal]


async def get_day_trial_balance(
    desk: Desk, *, book_id: int, first: date, last: date
) -> TrialBalance:
    """Return the trial balance of the closed days of a book from `first` to `last`.

    A subject without children stands on one side; a parent is the sum of its children, side
    by side.

    Raises Refused, in this order: BOOK_NOT_FOUND, DAY_NOT_FOUND, DAY_NOT_CLOSED.
    """
    begin, end = await closed_span(desk, book_id=book_id, first=first, last=last)
    totals = await subject_totals(
        desk.db, book_id=book_id, first=begin.acct_date, last=end.acct_date
    )
    leaves = {(one.currency_code, one.subject_code): _figures(one) for one in totals}
    lines = [
        TrialLine(subject_code=code, currency_code=currency_code, **_sides(figures))
        for currency_code, code, figures in rolled_up(by_code(await list_subjects(desk.db)), leaves)
    ]
    return TrialBalance(lines=lines, totals=_totals(totals))


def _figures(one: SubjectTotal) -> list[int]:
    """Return debit and credit of opening, turnover and closing."""
    opening, closing = one.opening_minor, one.closing_minor
    figures = [max(opening, 0), max(-opening, 0), one.debit_minor, one.credit_minor]
    return [*figures, max(closing, 0), max(-closing, 0)]


def _sides(figures: Sequence[int]) -> dict[str, Sides]:
    return {
        name: Sides(debit_minor=figures[at], credit_minor=figures[at + 1])
        for at, name in ((0, "opening"), (2, "turnover"), (4, "closing"))
    }


def _totals(totals: Sequence[SubjectTotal]) -> list[TrialTotal]:
    sums: dict[str, list[int]] = {}
    holds: dict[str, bool] = {}
    for one in totals:
        known = sums.setdefault(one.currency_code, [0] * 6)
        for place, figure in enumerate(_figures(one)):
            known[place] += figure
        moved = one.opening_minor + one.debit_minor - one.credit_minor
        holds[one.currency_code] = holds.get(one.currency_code, True) and moved == one.closing_minor
    return [
        TrialTotal(
            currency_code=currency_code,
            **_sides(known),
            balanced=holds[currency_code] and known[::2] == known[1::2],
        )
        for currency_code, known in sorted(sums.items())
    ]
