"""`tongbao ledger trial`: the trial balance 试算平衡 of closed days."""

from __future__ import annotations

from collections.abc import Mapping

from ledger.cli._ask import OPERATOR, As, as_data
from ledger.cli._days import ask_accounting, subject_names
from mesh.cli.output import AsJson, Home, show, table
from mesh.money import major
from tongbao.ledger.v1 import accounting_service_pb2 as pb


def trial(
    first: str,
    last: str = "",
    *,
    book: int = 0,
    as_name: As = OPERATOR,
    home: Home = None,
    as_json: AsJson = False,
) -> int:
    """Show opening, turnover and closing of every subject over closed days.

    Exit codes: 0 shown; 1 refused, or nothing answers.

    Parameters
    ----------
    first
        The accounting date, such as 2026-11-22.
    last
        The last one of several. Default: the same.
    book
        The book. Default: the first one.
    as_name
        Who asks: `operator`, or the private key file `op-<name>.key` of another one.
    home
        The home it runs in. Default: .tongbao, or TONGBAO_HOME.
    as_json
        Write one JSON document.
    """
    request = pb.GetDayTrialBalanceRequest(book_id=book, from_date=first, to_date=last)
    answer = ask_accounting("GetDayTrialBalance", request, home=home, as_name=as_name)
    names = {} if as_json else subject_names(home=home, as_name=as_name)
    show(_text(answer, names), as_data(answer), as_json=as_json)
    return 0


def _text(answer: pb.GetDayTrialBalanceResponse, names: Mapping[str, str]) -> str:
    rows = [
        [
            "subject",
            "name",
            "currency",
            "opening debit",
            "credit",
            "turnover debit",
            "credit",
            "closing debit",
            "credit",
        ]
    ]
    for line in answer.lines:
        rows.append([line.subject_code, names.get(line.subject_code, ""), *_sides(line)])
    for total in answer.totals:
        verdict = "balanced" if total.balanced else "DOES NOT BALANCE"
        rows.append(["", verdict, *_sides(total)])
    return table(rows)


def _sides(line: pb.DayTrialBalanceLine | pb.DayTrialBalanceTotal) -> list[str]:
    code = line.currency_code
    sides = (line.opening, line.turnover, line.closing)
    found = [minor for side in sides for minor in (side.debit_minor, side.credit_minor)]
    return [code, *(major(minor, code) for minor in found)]
