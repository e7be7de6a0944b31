"""`tongbao ledger holds`: what is or was on hold on an account."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter

from ledger.cli._ask import OPERATOR, As, as_data, name_of, ref_of, rows_of
from mesh.cli.output import AsJson, Home, show, table
from mesh.money import major
from tongbao.ledger.v1 import account_pb2
from tongbao.ledger.v1 import account_service_pb2 as pb

State = Literal["open", "captured", "released", "expired"]


def holds(
    account: str,
    *,
    state: Annotated[tuple[State, ...], Parameter(negative=())] = (),
    most: int = 50,
    business_code: str = "",
    as_name: As = OPERATOR,
    home: Home = None,
    as_json: AsJson = False,
) -> int:
    """List what is or was on hold 冻结 on an account, the newest first.

    Exit codes: 0 listed; 1 there is no such account, or nothing answers; 2 that is no account's
    name.

    Parameters
    ----------
    account
        Its id, or `kind:owner:currency`, such as `wallet:MALL/u1:CNY`.
    state
        Only in this state; repeat it for several.
    most
        How many at most.
    business_code
        The business line in whose book to look; by default that of the wallet's owner.
    as_name
        Who asks: `operator`, or the private key file `op-<name>.key` of another one.
    home
        The home it runs in. Default: .tongbao, or TONGBAO_HOME.
    as_json
        Write one JSON document.
    """
    values = [account_pb2.Hold.State.Value(f"STATE_{one.upper()}") for one in state]
    ref = ref_of(account, business_code=business_code)
    request = pb.ListHoldsRequest(account=ref, states=values)
    found = list(rows_of("ListHolds", "holds", request, most=most, home=home, as_name=as_name))
    show(_text(found), {"holds": [as_data(hold) for hold in found]}, as_json=as_json)
    return 0


def _text(found: list[account_pb2.Hold]) -> str:
    if not found:
        return "no holds"
    rows = [["made", "amount", "remaining", "state", "expires", "from", "to", "order"]]
    for hold in found:
        code = hold.debit.currency_code
        rows.append(
            [
                hold.create_time.ToJsonString(),
                major(hold.amount_minor, code),
                major(hold.remaining_minor, code),
                account_pb2.Hold.State.Name(hold.state).removeprefix("STATE_").lower(),
                hold.expire_time.ToJsonString() if hold.HasField("expire_time") else "-",
                name_of(hold.debit),
                name_of(hold.credit),
                hold.source_no,
            ]
        )
    return table(rows)
