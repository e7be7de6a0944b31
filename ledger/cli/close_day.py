"""`tongbao ledger close-day`: close an accounting day that was cut."""

from __future__ import annotations

from ledger.cli._ask import OPERATOR, As, as_data
from ledger.cli._days import ask_accounting, days_text
from mesh.cli.output import AsJson, Home, show
from tongbao.ledger.v1 import accounting_service_pb2 as pb


def close_day(
    date: str,
    *,
    book: int = 0,
    as_name: As = OPERATOR,
    home: Home = None,
    as_json: AsJson = False,
) -> int:
    """Close a day: turnover and balances of every account and subject, for ever.

    The ledger does so by itself after the cut. A day that does not balance is not closed.

    Exit codes: 0 closed, or it was before; 1 refused, or nothing answers.

    Parameters
    ----------
    date
        The accounting date, such as 2026-11-22; those before it must be closed.
    book
        The book. Default: the first one.
    as_name
        Who asks: `operator`, or the private key file `op-<name>.key` of another one.
    home
        The home it runs in. Default: .tongbao, or TONGBAO_HOME.
    as_json
        Write one JSON document.
    """
    request = pb.CloseDayRequest(book_id=book, acct_date=date)
    answer = ask_accounting("CloseDay", request, home=home, as_name=as_name)
    show(days_text([answer.day]), as_data(answer), as_json=as_json)
    return 0
