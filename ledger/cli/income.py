"""`tongbao ledger income`: the income statement 利润表."""

from __future__ import annotations

from ledger.cli._ask import OPERATOR, As, as_data
from ledger.cli._days import ask_accounting, income_text, lines_text, subject_names
from mesh.cli.output import AsJson, Home, show
from tongbao.ledger.v1 import accounting_service_pb2 as pb


def income(
    first: str,
    last: str = "",
    *,
    book: int = 0,
    as_name: As = OPERATOR,
    home: Home = None,
    as_json: AsJson = False,
) -> int:
    """Show income, expenses and profit over closed days.

    Exit codes: 0 shown; 1 refused, or nothing answers.

    Parameters
    ----------
    first
        The first accounting date, such as 2026-11-01.
    last
        The last one. Default: the same.
    book
        The book. Default: the first one.
    as_name
        Who asks: `operator`, or the private key file `op-<name>.key` of another one.
    home
        The home it runs in. Default: .tongbao, or TONGBAO_HOME.
    as_json
        Write one JSON document.
    """
    request = pb.GetIncomeStatementRequest(book_id=book, from_date=first, to_date=last)
    answer = ask_accounting("GetIncomeStatement", request, home=home, as_name=as_name)
    names = {} if as_json else subject_names(home=home, as_name=as_name)
    text = f"{lines_text(answer.lines, names)}\n\n{income_text(answer.totals)}"
    show(text, as_data(answer), as_json=as_json)
    return 0
