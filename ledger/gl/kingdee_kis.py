"""Kingdee KIS, standard edition 金蝶 KIS 标准版: the sheet that its import of vouchers reads.

One row a line, the columns of its template in their order. Amounts are numbers in major units of
the base currency; what is in another currency says so with its rate.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import date
from decimal import Decimal

import xlsxwriter

from ledger.gl.voucher import GlBook, GlVoucher, based
from mesh.money import major

_DAY = 1000
COLUMNS = (
    "日期",
    "凭证字",
    "凭证号",
    "附单据数",
    "摘要",
    "科目代码",
    "科目名称",
    "借方金额",
    "贷方金额",
    "币别",
    "汇率",
    "数量",
    "单价",
    "制单人",
    "审核人",
    "过账人",
)


def render(vouchers: Sequence[GlVoucher], book: GlBook) -> bytes:
    """Return an .xlsx file. Vouchers are numbered by day: those of the 22nd from 22001 on.

    Raises GlError when there is no rate.
    """
    file = io.BytesIO()
    # No temporary files, and text stays text: a summary that begins with "=" is no formula.
    options = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    with xlsxwriter.Workbook(file, options) as workbook:
        sheet = workbook.add_worksheet("凭证")
        sheet.write_row(0, 0, COLUMNS)
        for row, cells in enumerate(rows(vouchers, book), start=1):
            sheet.write_row(row, 0, cells)
    return file.getvalue()


def rows(vouchers: Sequence[GlVoucher], book: GlBook) -> list[list[str | int | Decimal]]:
    """Return the rows below the heading. Raises GlError when there is no rate."""
    numbers: dict[date, int] = {}
    found: list[list[str | int | Decimal]] = []
    for voucher in vouchers:
        # KIS knows a voucher by month, word and number, and a file holds one day of the month.
        first = voucher.acct_date.day * _DAY
        numbers[voucher.acct_date] = number = numbers.get(voucher.acct_date, first) + 1
        rate = book.rate(voucher.currency_code)
        for line, amount_minor in based(voucher, book):
            amount = Decimal(major(amount_minor, book.base_currency))
            found.append(
                [
                    voucher.acct_date.isoformat(),
                    book.word,
                    number,
                    0,
                    f"{line.summary} {voucher.key}",
                    line.subject_code,
                    line.subject_name,
                    amount if line.debit_minor else Decimal(0),
                    amount if line.credit_minor else Decimal(0),
                    voucher.currency_code,
                    rate,
                    "",
                    "",
                    book.prepared_by,
                    "",
                    "",
                ]
            )
    return found
