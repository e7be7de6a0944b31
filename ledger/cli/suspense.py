"""`tongbao ledger suspense`: money in doubt 挂账, how old it is, what took it out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from ledger.cli._ask import OPERATOR, PAGE_MAX, As, Flag, as_data, kind_of
from ledger.cli._days import ask_accounting
from mesh.cli.output import AsJson, Home, show, table
from mesh.config import ConfigError
from mesh.money import major
from tongbao.ledger.v1 import accounting_service_pb2 as pb
from tongbao.ledger.v1 import ledger_pb2

InDoubt = Literal["suspense", "duplicate", "surplus", "shortage"]


def suspense(
    *,
    kind: Annotated[tuple[InDoubt, ...], Parameter(negative=())] = (),
    currency: str = "",
    min_age_days: int = 0,
    settled: Flag = False,
    book: int = 0,
    most: int = 50,
    as_name: As = OPERATOR,
    home: Home = None,
    as_json: AsJson = False,
) -> int:
    """List money in doubt 挂账 by what parked it, the oldest first, and each account's total.

    Exit codes: 0 listed; 1 refused, or nothing answers; 2 the options do not fit; 3 the items do
    not come to the balance of their account.

    Parameters
    ----------
    kind
        Accounts of this kind; repeat it for more than one. Default: suspense and duplicate.
    currency
        Only in this currency, such as CNY.
    min_age_days
        Only what is so old, in calendar days.
    settled
        Also what nothing is left of.
    book
        The book. Default: the first one.
    most
        How many at most.
    as_name
        Who asks: `operator`, or the private key file `op-<name>.key` of another one.
    home
        The home it runs in. Default: .tongbao, or TONGBAO_HOME.
    as_json
        Write one JSON document.
    """
    request = pb.ListSuspenseRequest(
        book_id=book,
        kinds=[kind_of(one) for one in kind],
        currency_code=currency,
        min_age_days=min_age_days,
        include_settled=settled,
    )
    found, totals = _pages(request, most=most, home=home, as_name=as_name)
    told = {
        "items": [as_data(item) for item in found],
        "totals": [as_data(total) for total in totals],
    }
    text = "\n\n".join([_items(found), _totals(totals)] if totals else [_items(found)])
    show(text, told, as_json=as_json)
    return 3 if any(total.unexplained_minor for total in totals) else 0


def _pages(
    request: pb.ListSuspenseRequest, *, most: int, home: Path | None, as_name: str
) -> tuple[list[pb.SuspenseItem], list[pb.SuspenseTotal]]:
    """Return up to `most` items, and the totals as the last page had them."""
    if most < 1:
        raise ConfigError(f"--most: must be positive (got {most})")
    found: list[pb.SuspenseItem] = []
    while True:
        request.page_size = min(most - len(found), PAGE_MAX)
        answer = ask_accounting("ListSuspense", request, home=home, as_name=as_name)
        found += answer.items
        request.page_token = answer.next_page_token
        if len(found) >= most or not answer.next_page_token:
            return found, list(answer.totals)


def _kind(kind: ledger_pb2.AccountKind.ValueType) -> str:
    return ledger_pb2.AccountKind.Name(kind).removeprefix("ACCOUNT_KIND_").lower()


def _items(found: list[pb.SuspenseItem]) -> str:
    if not found:
        return "no money in doubt"
    rows = [
        ["since", "days", "account", "parked", "taken", "open", "by", "order", "channel", "out by"]
    ]
    for item in found:
        code = item.currency_code
        rows.append(
            [
                item.acct_date,
                str(item.age_days),
                f"{_kind(item.kind)}::{code}",
                major(item.parked_minor, code),
                major(item.taken_minor, code),
                major(item.open_minor, code),
                item.template or "-",
                item.source_no or "-",
                item.channel_code or "-",
                ", ".join(f"{one.template} {one.source_no}" for one in item.releases) or "-",
            ]
        )
    return table(rows)


def _totals(totals: list[pb.SuspenseTotal]) -> str:
    rows = [["account", "balance", "open", "items", "unexplained"]]
    for total in totals:
        code = total.currency_code
        rows.append(
            [
                f"{_kind(total.kind)}::{code}",
                major(total.balance_minor, code),
                major(total.open_minor, code),
                str(total.open_items),
                major(total.unexplained_minor, code),
            ]
        )
    return table(rows)
