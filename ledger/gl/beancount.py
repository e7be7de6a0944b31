"""Beancount text: every subject an account, every voucher a transaction; `bean-check` proves it.

Accounts are opened on the date of the first voucher. Debits are positive, credits negative.
"""

from __future__ import annotations

from collections.abc import Sequence

from ledger.gl.voucher import GlBook, GlLine, GlVoucher
from mesh.money import major

_ROOTS = {
    "asset": "Assets",
    "common": "Assets",
    "liability": "Liabilities",
    "equity": "Equity",
    "cost": "Expenses",
}


def render(vouchers: Sequence[GlVoucher], book: GlBook) -> bytes:
    """Return the text; amounts stay in the currency of their voucher."""
    lines = [f'option "operating_currency" "{book.base_currency}"']
    if vouchers:
        first = min(voucher.acct_date for voucher in vouchers).isoformat()
        names = sorted({_account(line) for voucher in vouchers for line in voucher.lines})
        lines += [f"{first} open {name}" for name in names]
    for voucher in vouchers:
        lines += ["", _head(voucher), f'  voucher: "{voucher.key}"']
        lines += [f"  {_account(line)}  {_amount(line, voucher)}" for line in voucher.lines]
    return ("\n".join(lines) + "\n").encode()


def _head(voucher: GlVoucher) -> str:
    summary = voucher.lines[0].summary.replace("\\", "/").replace('"', "'").replace("\n", " ")
    return f'{voucher.acct_date.isoformat()} * "{summary}"'


def _account(line: GlLine) -> str:
    """Return the account of a subject, e.g. `Assets:1002-01`."""
    root = _ROOTS.get(line.subject_class) or ("Income" if line.normal > 0 else "Expenses")
    return f"{root}:{line.subject_code.replace('.', '-')}"


def _amount(line: GlLine, voucher: GlVoucher) -> str:
    amount_minor = line.debit_minor - line.credit_minor
    return f"{major(amount_minor, voucher.currency_code)} {voucher.currency_code}"
