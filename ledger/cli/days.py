"""`tongbao ledger days`: accounting days, and whether they are closed."""

from __future__ import annotations

from ledger.cli._ask import OPERATOR, As, as_data, rows_of
from ledger.cli._days import days_text
from mesh.cli.output import AsJson, Home, show
from tongbao.ledger.v1 import accounting_service_pb2 as pb


def days(
    *,
    most: int = 30,
    book: int = 0,
    as_name: As = OPERATOR,
    home: Home = None,
    as_json: AsJson = False,
) -> int:
    """List the accounting days 会计日 of a book, the newest first.

    Exit codes: 0 listed; 1 or nothing answers.

    Parameters
    ----------
    most
        How many at most.
    book
        The book. Default: the first one.
    as_name
        Who asks: `operator`, or the private key file `op-<name>.key` of another one.
    home
        The home it runs in. Default: .tongbao, or TONGBAO_HOME.
    as_json
        Write one JSON document.
    """
    request = pb.ListDaysRequest(book_id=book)
    found = list(
        rows_of(
            "AccountingService/ListDays", "days", request, most=most, home=home, as_name=as_name
        )
    )
    show(days_text(found), {"days": [as_data(one) for one in found]}, as_json=as_json)
    return 0
