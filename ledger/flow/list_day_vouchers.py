"""List what was booked on a closed day as vouchers for the general ledger 记账凭证."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby

from ledger.desk import Desk
from ledger.flow._days import closed_span
from ledger.postings import TEMPLATES
from ledger.store.reports import VoucherPart, page_of_voucher_parts
from mesh.lists import Page

_NAMES = {template.code: (name, template.about) for name, template in TEMPLATES.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class VoucherLine:
    """One side of one subject, in minor units; the other amount is 0. Negative is red 红字."""

    subject_code: str
    gl_code: str
    debit_minor: int = 0
    credit_minor: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DayVoucher:
    """What one template booked on one day in one currency. Debits are credits.

    `key` is the same for the same day, template and currency. `template` and `summary` are
    empty for transfers of no template, whose code is 0.
    """

    key: str
    template_code: int
    template: str
    summary: str
    currency_code: str
    lines: Sequence[VoucherLine]


async def list_day_vouchers(
    desk: Desk, *, book_id: int, acct_date: date, page: Page
) -> tuple[Sequence[DayVoucher], str]:
    """Return a page of the vouchers of a day, by code and currency, and where the next begins.

    The token is empty when there is nothing more.

    Raises Refused, in this order: BOOK_NOT_FOUND, DAY_NOT_FOUND, DAY_NOT_CLOSED.
    """
    await closed_span(desk, book_id=book_id, first=acct_date, last=acct_date)
    code, _, currency_code = page.after.partition("_")
    parts = await page_of_voucher_parts(
        desk.db,
        book_id=book_id,
        acct_date=acct_date,
        after=(int(code) if code else -1, currency_code),
        vouchers=page.size + 1,
    )
    groups = [
        (key, list(lines))
        for key, lines in groupby(parts, lambda part: (part.template_code, part.currency_code))
    ]
    more = len(groups) > page.size
    groups = groups[: page.size]
    vouchers = [
        _voucher(f"{book_id}-{acct_date:%Y%m%d}-{code}-{currency_code}", lines)
        for (code, currency_code), lines in groups
    ]
    return vouchers, page.token("{}_{}".format(*groups[-1][0])) if more else ""


def _voucher(key: str, parts: Sequence[VoucherPart]) -> DayVoucher:
    code = parts[0].template_code
    name, summary = _NAMES.get(code, ("", ""))
    debits = [
        VoucherLine(subject_code=one.subject_code, gl_code=one.gl_code, debit_minor=one.debit_minor)
        for one in parts
        if one.debit_minor
    ]
    credits = [
        VoucherLine(
            subject_code=one.subject_code, gl_code=one.gl_code, credit_minor=one.credit_minor
        )
        for one in parts
        if one.credit_minor
    ]
    return DayVoucher(
        key=key,
        template_code=code,
        template=name,
        summary=summary,
        currency_code=parts[0].currency_code,
        lines=[*debits, *credits],
    )
