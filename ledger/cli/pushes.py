"""`tongbao ledger pushes`: vouchers of closed days, and where each is on its way."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter

from ledger.cli._ask import OPERATOR, As, as_data, rows_of
from mesh.cli.output import AsJson, Home, show, table
from tongbao.ledger.v1 import general_ledger_service_pb2 as pb

State = Literal["pending", "pushed", "accepted", "rejected"]


def pushes(
    *,
    state: Annotated[tuple[State, ...], Parameter(negative=())] = (),
    book: int = 0,
    most: int = 50,
    as_name: As = OPERATOR,
    home: Home = None,
    as_json: AsJson = False,
) -> int:
    """List the vouchers of closed days with where they are, the newest day first.

    Exit codes: 0 listed; 1 refused, or nothing answers; 2 the options do not fit.

    Parameters
    ----------
    state
        Only those that are there; repeat it for more than one.
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
    request = pb.ListPushesRequest(
        book_id=book, states=[pb.PushState.Value(f"PUSH_STATE_{one.upper()}") for one in state]
    )
    found = list(
        rows_of(
            "GeneralLedgerService/ListPushes",
            "pushes",
            request,
            most=most,
            home=home,
            as_name=as_name,
        )
    )
    show(pushes_text(found), {"pushes": [as_data(one) for one in found]}, as_json=as_json)
    return 0


def pushes_text(found: list[pb.Push]) -> str:
    """Return vouchers on their way as a table."""
    if not found:
        return "no vouchers"
    rows = [["voucher", "state", "pushes", "number there", "by", "at", "why"]]
    for one in found:
        at = one.update_time.ToJsonString() if one.HasField("update_time") else "-"
        state = pb.PushState.Name(one.state).removeprefix("PUSH_STATE_").lower()
        rows.append(
            [
                one.external_key,
                state,
                str(one.pushes),
                one.voucher_no or "-",
                one.actor or "-",
                at,
                one.cause or "-",
            ]
        )
    return table(rows)
