"""`tongbao ledger balance`: what was on an account at some time."""

from __future__ import annotations

from ledger.cli._ask import OPERATOR, As, as_data, ask, moment, ref_of
from mesh.cli.output import AsJson, Home, show
from mesh.config import ConfigError
from mesh.money import major
from tongbao.ledger.v1 import account_service_pb2 as pb


def balance(
    account: str,
    *,
    at: str = "",
    on: str = "",
    business_code: str = "",
    as_name: As = OPERATOR,
    home: Home = None,
    as_json: AsJson = False,
) -> int:
    """Show the booked balance as of a time, or as of the end of an accounting date.

    Exit codes: 0 shown; 1 there is no such account, or nothing answers; 2 the options do not
    fit.

    Parameters
    ----------
    account
        Its id, or `kind:owner:currency`, such as `wallet:MALL/u1:CNY`.
    at
        A time such as `2026-11-22T18:00:00+08:00`.
    on
        An accounting date 会计日, `YYYY-MM-DD`.
    business_code
        The business line in whose book to look; by default that of the wallet's owner.
    as_name
        Who asks: `operator`, or the private key file `op-<name>.key` of another one.
    home
        The home it runs in. Default: .tongbao, or TONGBAO_HOME.
    as_json
        Write one JSON document.
    """
    if bool(at) == bool(on):
        raise ConfigError("say as of when: --at a time, or --on an accounting date")
    request = pb.GetBalanceAtRequest(account=ref_of(account, business_code=business_code))
    if at:
        request.time.CopyFrom(moment(at, option="--at"))
    else:
        request.acct_date = on
    answer = ask("GetBalanceAt", request, home=home, as_name=as_name)
    figure = major(answer.posted_minor, answer.currency_code)
    told = "final" if answer.is_final else "may still change"
    show(f"{figure} {answer.currency_code} ({told})", as_data(answer), as_json=as_json)
    return 0
