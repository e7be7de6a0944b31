"""`tongbao ledger clearing`: what stands on the clearing accounts 待清算, by age."""

from __future__ import annotations

from ledger.cli._ask import OPERATOR, As, as_data
from ledger.cli._days import ask_accounting
from mesh.cli.output import AsJson, Home, show, table
from mesh.money import major
from tongbao.ledger.v1 import accounting_service_pb2 as pb


def clearing(
    *,
    book: int = 0,
    as_name: As = OPERATOR,
    home: Home = None,
    as_json: AsJson = False,
) -> int:
    """Show what channels owe us by age 账龄, in calendar days; below zero what we owe them.

    `balance` is the clearing of wallets: it must be 0 when nothing is under way.

    Exit codes: 0 shown; 1 refused, or nothing answers.

    Parameters
    ----------
    book
        The book. Default: the first one.
    as_name
        Who asks: `operator`, or the private key file `op-<name>.key` of another one.
    home
        The home it runs in. Default: .tongbao, or TONGBAO_HOME.
    as_json
        Write one JSON document.
    """
    request = pb.GetClearingAgesRequest(book_id=book)
    answer = ask_accounting("GetClearingAges", request, home=home, as_name=as_name)
    show(_text(answer), as_data(answer), as_json=as_json)
    return 0


def _text(answer: pb.GetClearingAgesResponse) -> str:
    if not answer.accounts:
        return "no clearing accounts"
    spans = [_span(bucket) for bucket in answer.accounts[0].buckets]
    rows = [["channel", "currency", "balance", "oldest", *spans]]
    for one in answer.accounts:
        code = one.currency_code
        rows.append(
            [
                one.channel_code,
                code,
                major(one.balance_minor, code),
                one.oldest_date or "-",
                *(major(bucket.open_minor, code) for bucket in one.buckets),
            ]
        )
    return table(rows)


def _span(bucket: pb.AgeBucket) -> str:
    if bucket.to_days < 0:
        return f"older than {bucket.from_days - 1}"
    if bucket.to_days == bucket.from_days:
        return f"{bucket.from_days} d" if bucket.from_days else "today"
    return f"{bucket.from_days} to {bucket.to_days} d"
