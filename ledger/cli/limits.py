"""`tongbao ledger limits`: say how far a balance may fall and rise."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from ledger.cli._ask import (
    OPERATOR,
    As,
    Flag,
    accounts_text,
    as_data,
    ask,
    new_request_id,
    ref_of,
    repeat_hint,
)
from mesh.cli.output import AsJson, Home, show
from mesh.config import ConfigError
from tongbao.ledger.v1 import account_service_pb2 as pb

NO_LIMIT = "none"

Limit = Annotated[str, Parameter(allow_leading_hyphen=True)]


def limits(
    account: str,
    *,
    cause: str,
    floor: Limit = "",
    cap: Limit = "",
    allow_breach: Flag = False,
    request_id: str = "",
    business_code: str = "",
    as_name: As = OPERATOR,
    home: Home = None,
    as_json: AsJson = False,
) -> int:
    """Set the limits of an account; what is on hold counts as if it had moved.

    A limit that is not named stays as it is. Exit codes: 0 done; 1 refused, or nothing answers;
    2 that is no account's name, or no limit.

    Parameters
    ----------
    account
        Its id, or `kind:owner:currency`, such as `wallet:MALL/u1:CNY`.
    cause
        Why, for whoever reads the account's history.
    floor
        The least it may fall to, in minor units, or `none`.
    cap
        The most it may rise to, in minor units, or `none`.
    allow_breach
        Also if the account is beyond the limit now: only what brings it back passes then.
    request_id
        Your own number of this request: what was done under it is not done again.
    business_code
        The business line in whose book to look; by default that of the wallet's owner.
    as_name
        Who does it: `operator`, or the private key file `op-<name>.key` of another one.
    home
        The home it runs in. Default: .tongbao, or TONGBAO_HOME.
    as_json
        Write one JSON document.
    """
    if not floor and not cap:
        raise ConfigError("say which limit: --floor, --cap, or both")
    request_id = new_request_id(request_id)
    request = pb.SetAccountLimitsRequest(
        request_id=request_id,
        account=ref_of(account, business_code=business_code),
        cause=cause,
        floor_minor=_minor(floor, "--floor"),
        no_floor=floor == NO_LIMIT,
        cap_minor=_minor(cap, "--cap"),
        no_cap=cap == NO_LIMIT,
        allow_breach=allow_breach,
    )
    hint = repeat_hint(request_id)
    answer = ask("SetAccountLimits", request, home=home, as_name=as_name, hint=hint)
    show(accounts_text([answer.account]), as_data(answer), as_json=as_json)
    return 0


def _minor(text: str, option: str) -> int | None:
    """Return the amount, None where there is none. Raises ConfigError."""
    if text in ("", NO_LIMIT):
        return None
    try:
        return int(text)
    except ValueError:
        told = f"{option}: must be a whole number of minor units, or none (got {text!r})"
        raise ConfigError(told) from None
