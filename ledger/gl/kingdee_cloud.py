"""Kingdee K/3 Cloud 金蝶云星空: the `Model` of the voucher form, for its Save or BatchSave call.

Field names as in articles 285119332747698108 and 411589535605323520 of vip.kingdee.com. All
base data goes by number and has to be there, audited. Amounts are in major units.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ledger.gl.voucher import GlBook, GlLine, GlVoucher, based
from mesh.money import major

_DEBIT, _CREDIT = "1", "-1"


def render(vouchers: Sequence[GlVoucher], book: GlBook) -> bytes:
    """Return one JSON document with all vouchers. Raises GlError when there is no rate."""
    models = [_model(voucher, book) for voucher in vouchers]
    return (json.dumps({"Model": models}, ensure_ascii=False, indent=1) + "\n").encode()


def _model(voucher: GlVoucher, book: GlBook) -> dict[str, Any]:
    lines = based(voucher, book)
    total = major(sum(at for line, at in lines if line.debit_minor), book.base_currency)
    return {
        "FVOUCHERID": 0,
        "FAccountBookID": {"FNumber": book.account_book},
        "FACCTORGID": {"FNumber": book.organisation},
        "FDate": voucher.acct_date.isoformat(),
        "FYEAR": voucher.acct_date.year,
        "FPERIOD": voucher.acct_date.month,
        "FVOUCHERGROUPID": {"FNumber": book.word_no},
        "FBILLNO": voucher.key,
        "FATTACHMENTS": 0,
        "FBASECURRENCYID": {"FNumber": book.base_currency},
        "FDEBITTOTAL": total,
        "FCREDITTOTAL": total,
        "FCreatorId": {"FUserID": book.prepared_by},
        "FDocumentStatus": "A",
        "FEntity": [_entry(line, at, voucher.currency_code, book) for line, at in lines],
    }


def _entry(line: GlLine, amount_minor: int, currency_code: str, book: GlBook) -> dict[str, Any]:
    own = major(line.debit_minor or line.credit_minor, currency_code)
    base = major(amount_minor, book.base_currency)
    nothing = major(0, book.base_currency)
    return {
        "FEXPLANATION": line.summary,
        "FACCOUNTID": {"FNumber": line.subject_code},
        "FCURRENCYID": {"FNumber": currency_code},
        "FEXCHANGERATE": str(book.rate(currency_code)),
        "FAMOUNTFOR": own,
        "FAMOUNT": base,
        "FDC": _DEBIT if line.debit_minor else _CREDIT,
        "FDEBIT": base if line.debit_minor else nothing,
        "FCREDIT": base if line.credit_minor else nothing,
    }
