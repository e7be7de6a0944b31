"""Comma-separated values (RFC 4180) in UTF-8, for every other system and for people."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from ledger.gl.voucher import GlBook, GlVoucher, in_base
from mesh.money import major

COLUMNS = (
    "voucher",
    "date",
    "line",
    "subject",
    "subject_name",
    "summary",
    "currency",
    "debit",
    "credit",
    "rate",
    "base_currency",
    "base_debit",
    "base_credit",
)


def render(vouchers: Sequence[GlVoucher], book: GlBook) -> bytes:
    """Return the file, with a heading. Raises GlError when there is no rate."""
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    for voucher in vouchers:
        rate = book.rate(voucher.currency_code)
        amounts = in_base(voucher, book)
        for place, (line, base_minor) in enumerate(zip(voucher.lines, amounts, strict=True), 1):
            is_debit = bool(line.debit_minor)
            writer.writerow(
                [
                    voucher.key,
                    voucher.acct_date.isoformat(),
                    place,
                    line.subject_code,
                    _inert(line.subject_name),
                    _inert(line.summary),
                    voucher.currency_code,
                    major(line.debit_minor, voucher.currency_code),
                    major(line.credit_minor, voucher.currency_code),
                    str(rate),
                    book.base_currency,
                    major(base_minor if is_debit else 0, book.base_currency),
                    major(0 if is_debit else base_minor, book.base_currency),
                ]
            )
    return file.getvalue().encode()


def _inert(text: str) -> str:
    """Return text that a spreadsheet does not take for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
