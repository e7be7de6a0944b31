"""`tongbao ledger sheet`: the balance sheet 资产负债表."""

from __future__ import annotations

from ledger.cli._ask import OPERATOR, As, as_data
from ledger.cli._days import ask_accounting, lines_text, subject_names
from mesh.cli.output import AsJson, Home, show, table
from mesh.money import major
from tongbao.ledger.v1 import accounting_service_pb2 as pb


def sheet(
    date: str,
    *,
    book: int = 0,
    as_name: As = OPERATOR,
    home: Home = None,
    as_json: AsJson = False,
) -> int:
    """Show assets, liabilities and equity at the end of a closed day.

    Exit codes: 0 shown; 1 refused, or nothing answers.

    Parameters
    ----------
    date
        The accounting date, such as 2026-11-22.
    book
        The book. Default: the first one.
    as_name
        Who asks: `operator`, or the private key file `op-<name>.key` of another one.
    home
        The home it runs in. Default: .tongbao, or TONGBAO_HOME.
    as_json
        Write one JSON document.
    """
    request = pb.GetBalanceSheetRequest(book_id=book, acct_date=date)
    answer = ask_accounting("GetBalanceSheet", request, home=home, as_name=as_name)
    names = {} if as_json else subject_names(home=home, as_name=as_name)
    text = f"{lines_text(answer.lines, names)}\n\n{_totals(answer)}"
    show(text, as_data(answer), as_json=as_json)
    return 0


def _totals(answer: pb.GetBalanceSheetResponse) -> str:
    rows = [["currency", "assets", "liabilities", "equity", "profit not closed", ""]]
    for total in answer.totals:
        code = total.currency_code
        found = (
            total.assets_minor,
            total.liabilities_minor,
            total.equity_minor,
            total.income_minor,
        )
        verdict = "balanced" if total.balanced else "DOES NOT BALANCE"
        rows.append([code, *(major(minor, code) for minor in found), verdict])
    return table(rows)
