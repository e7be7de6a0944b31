"""`tongbao ledger close-income`: carry a period into profit 损益结转."""

from __future__ import annotations

from ledger.cli._ask import OPERATOR, As, as_data
from ledger.cli._days import ask_accounting, income_text
from mesh.cli.output import AsJson, Home, show
from tongbao.ledger.v1 import accounting_service_pb2 as pb


def close_income(
    date: str,
    *,
    book: int = 0,
    as_name: As = OPERATOR,
    home: Home = None,
    as_json: AsJson = False,
) -> int:
    """Carry income and expenses up to a closed day into profit 本年利润, once.

    It is booked on the day that is open now.

    Exit codes: 0 booked, or it was before; 1 refused, or nothing answers.

    Parameters
    ----------
    date
        The last accounting date of the period, such as 2026-11-30.
    book
        The book. Default: the first one.
    as_name
        Who asks: `operator`, or the private key file `op-<name>.key` of another one.
    home
        The home it runs in. Default: .tongbao, or TONGBAO_HOME.
    as_json
        Write one JSON document.
    """
    request = pb.CloseIncomeRequest(book_id=book, to_date=date)
    answer = ask_accounting("CloseIncome", request, home=home, as_name=as_name)
    text = f"{answer.from_date} to {answer.to_date}\n{income_text(answer.totals)}"
    show(text, as_data(answer), as_json=as_json)
    return 0
