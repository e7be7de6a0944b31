"""`tongbao ledger cut`: end the accounting day 日切."""

from __future__ import annotations

from ledger.cli._ask import OPERATOR, As, as_data
from ledger.cli._days import ask_accounting, days_text
from mesh.cli.output import AsJson, Home, show
from tongbao.ledger.v1 import accounting_service_pb2 as pb


def cut(
    to: str,
    *,
    book: int = 0,
    as_name: As = OPERATOR,
    home: Home = None,
    as_json: AsJson = False,
) -> int:
    """Cut the day: whatever is booked from now on has the date `to`.

    The ledger does so by itself when a business day is over. Nobody is kept waiting by it.

    Exit codes: 0 cut, or it was before; 1 refused, or nothing answers.

    Parameters
    ----------
    to
        The next accounting date, such as 2026-11-23; tomorrow at most.
    book
        The book. Default: the first one.
    as_name
        Who asks: `operator`, or the private key file `op-<name>.key` of another one.
    home
        The home it runs in. Default: .tongbao, or TONGBAO_HOME.
    as_json
        Write one JSON document.
    """
    request = pb.CutDayRequest(book_id=book, to_date=to)
    answer = ask_accounting("CutDay", request, home=home, as_name=as_name)
    show(days_text([answer.day]), as_data(answer), as_json=as_json)
    return 0
