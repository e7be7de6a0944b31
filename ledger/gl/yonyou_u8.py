"""Yonyou U8 用友: the text that its tool of the general ledger 总账工具 imports.

Comma-separated, GB18030, CRLF; every line carries head and line, lines of one voucher stand
together, no line is empty. Required, in this order: date, voucher word, number (at most 30
characters; date, word and number name the voucher), attachments, summary (60), subject (15),
debit, credit, of which exactly one is not 0. Then, as far as we have them: quantity, amount in
the foreign currency, rate, prepared by. Versions differ behind those; trailing fields may be left
out.
"""

from __future__ import annotations

from collections.abc import Sequence

from ledger.gl.voucher import GlBook, GlError, GlVoucher, based
from mesh.money import major

_NUMBER_MAX, _SUMMARY_MAX, _SUBJECT_MAX = 30, 60, 15
# A comma or a line's end inside a field would begin another one: the format cannot quote.
_FORBIDDEN = str.maketrans({",": "，", "\r": " ", "\n": " ", "\t": " "})


def render(vouchers: Sequence[GlVoucher], book: GlBook) -> bytes:
    """Return the text. Raises GlError: a key or subject that is too long, no rate."""
    lines = [line for voucher in vouchers for line in _lines(voucher, book)]
    return "".join(f"{line}\r\n" for line in lines).encode("gb18030")


def _lines(voucher: GlVoucher, book: GlBook) -> list[str]:
    if len(voucher.key) > _NUMBER_MAX:
        raise GlError(f"voucher {voucher.key}: U8 takes numbers of {_NUMBER_MAX} characters")
    rate = book.rate(voucher.currency_code)
    is_foreign = voucher.currency_code != book.base_currency
    found = []
    for line, amount_minor in based(voucher, book):
        if len(line.subject_code) > _SUBJECT_MAX:
            raise GlError(f"subject {line.subject_code}: U8 takes {_SUBJECT_MAX} characters")
        amount, nothing = major(amount_minor, book.base_currency), major(0, book.base_currency)
        own = major(line.debit_minor or line.credit_minor, voucher.currency_code)
        fields = [
            voucher.acct_date.isoformat(),
            book.word,
            voucher.key,
            "0",
            line.summary[:_SUMMARY_MAX],
            line.subject_code,
            amount if line.debit_minor else nothing,
            amount if line.credit_minor else nothing,
            "",
            own if is_foreign else "",
            str(rate) if is_foreign else "",
            book.prepared_by,
        ]
        found.append(",".join(one.translate(_FORBIDDEN) for one in fields))
    return found
