"""`tongbao ledger account`: one account, and what persons did to it."""

from __future__ import annotations

from ledger.cli._ask import OPERATOR, As, accounts_text, as_data, ask, limit, ref_of, standing
from mesh.cli.output import AsJson, Home, show, table
from tongbao.ledger.v1 import account_service_pb2 as pb


def account(
    account: str,
    *,
    business_code: str = "",
    as_name: As = OPERATOR,
    home: Home = None,
    as_json: AsJson = False,
) -> int:
    """Show an account: what is on it, what is on hold, its limits, and who changed it why.

    Exit codes: 0 shown; 1 there is none, or nothing answers; 2 that is no account's name.

    Parameters
    ----------
    account
        Its id, or `kind:owner:currency`, such as `wallet:MALL/u1:CNY`.
    business_code
        The business line in whose book to look; by default that of the wallet's owner.
    as_name
        Who asks: `operator`, or the private key file `op-<name>.key` of another one.
    home
        The home it runs in. Default: .tongbao, or TONGBAO_HOME.
    as_json
        Write one JSON document.
    """
    request = pb.GetAccountRequest(account=ref_of(account, business_code=business_code))
    answer = ask("GetAccount", request, home=home, as_name=as_name)
    text = accounts_text([answer.account])
    if answer.changes:
        code = answer.account.key.currency_code
        rows = [["when", "who", "what", "standing", "floor", "cap", "why"]]
        rows += [
            [
                one.create_time.ToJsonString(),
                one.actor,
                one.verb.lower(),
                standing(one.after),
                limit(one.after, "floor", code),
                limit(one.after, "cap", code),
                one.cause,
            ]
            for one in answer.changes
        ]
        text += "\n\n" + table(rows)
    show(text, as_data(answer), as_json=as_json)
    return 0
