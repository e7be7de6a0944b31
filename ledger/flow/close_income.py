"""Close income: carry the income and expenses of a period into profit 损益结转."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

from ledger.desk import Desk
from ledger.flow._days import closed_span
from ledger.flow._subjects import IncomeTotal, by_code, earned, incomes
from ledger.flow.post import post
from ledger.model import AccountKind, Outcome, Posting, refuse
from ledger.store import day as store
from ledger.store.reports import SubjectTotal, subject_totals
from ledger.store.subject import list_subjects, subjects_of_kinds
from ledger.templates.funds import CLOSES
from tongbao.ledger.v1 import reasons_pb2 as reasons


def _templates() -> Mapping[tuple[AccountKind, bool], str]:
    """Return the template by the kind that is closed, and whether that stands on its debit."""
    found = {}
    for name, template in CLOSES.items():
        [leg] = template.legs
        on_debit = leg.debit.kind is AccountKind.PROFIT
        found[leg.credit.kind if on_debit else leg.debit.kind, on_debit] = name
    return found


_TEMPLATES = _templates()
_DAY_ZERO = 730_000  # A day of 1999: what is counted from it has six digits.


async def close_income(
    desk: Desk, *, book_id: int, to: date
) -> tuple[store.Period, Sequence[IncomeTotal]]:
    """Carry what a book earned from behind its last period to `to`; return period and totals.

    It is booked under the date that the book is at, each subject once: a repeat books what is
    missing and returns the same. Nothing of it can be refused: its accounts are opened, and nobody
    can block, limit or close them.

    Raises Refused, in this order: BOOK_NOT_FOUND, DAY_NOT_FOUND when the book begins later,
    DAY_NOT_CLOSED, PERIOD_OUT_OF_ORDER.
    """
    await closed_span(desk, book_id=book_id, first=date.min, last=to)
    period = await store.claim_period(desk.db, book_id=book_id, to=to)
    if period is None:
        last = await store.last_period_end(desk.db, book_id)
        raise refuse(
            reasons.REASON_PERIOD_OUT_OF_ORDER, book_id=book_id, to_date=to, last=last or ""
        )
    totals = await subject_totals(desk.db, book_id=book_id, first=period.from_date, last=to)
    if not period.booked:
        results = await post(desk, await _postings(desk, book_id, period, totals))
        refusals = [one.refusal for one in results if one.outcome is Outcome.REFUSED]
        assert not refusals, refusals
        await store.mark_booked(desk.db, book_id=book_id, to=to)
    return period, incomes(by_code(await list_subjects(desk.db)), totals)


async def _postings(
    desk: Desk, book_id: int, period: store.Period, totals: Sequence[SubjectTotal]
) -> list[Posting]:
    """Return what brings every subject of income and expense to zero, as of the period."""
    closed = {kind for kind, _ in _TEMPLATES}
    kinds = {
        code: kind for kind, code in (await subjects_of_kinds(desk.db)).items() if kind in closed
    }
    business_code = await store.business_code_of(desk.db, book_id)
    return [
        Posting(
            template=_TEMPLATES[kinds[one.subject_code], earned(one) > 0],
            # A number of the period's own: everybody who closes it books the same. It is as young
            # as the claim, however old the period is.
            source_no=f"{period.claim_date:%Y%m%d}LG{period.to_date.toordinal() - _DAY_ZERO:06d}"
            f"{one.currency_code}{book_id:07d}",
            trace_no=f"CLOSE-{book_id}-{period.to_date:%Y%m%d}",
            business_code=business_code or "",
            currency_code=one.currency_code,
            amount_minor=abs(earned(one)),
        )
        for one in totals
        if one.subject_code in kinds and earned(one) != 0
    ]
