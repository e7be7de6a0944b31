"""`tongbao ledger unblock`: open an account to debits or credits again."""

from __future__ import annotations

from ledger.cli._ask import (
    OPERATOR,
    As,
    Flag,
    accounts_text,
    as_data,
    ask,
    blocks_of,
    new_request_id,
    ref_of,
    repeat_hint,
)
from mesh.cli.output import AsJson, Home, show
from tongbao.ledger.v1 import account_service_pb2 as pb


def unblock(
    account: str,
    *,
    cause: str,
    debit: Flag = False,
    credit: Flag = False,
    request_id: str = "",
    business_code: str = "",
    as_name: As = OPERATOR,
    home: Home = None,
    as_json: AsJson = False,
) -> int:
    """Unblock an account: debits or credits pass again.

    Exit codes: 0 done; 1 refused, or nothing answers; 2 that is no account's name, or no side
    is named.

    Parameters
    ----------
    account
        Its id, or `kind:owner:currency`, such as `wallet:MALL/u1:CNY`.
    cause
        Why, for whoever reads the account's history.
    debit
        Debits pass again.
    credit
        Credits pass again.
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
    request_id = new_request_id(request_id)
    request = pb.UnblockAccountRequest(
        request_id=request_id,
        account=ref_of(account, business_code=business_code),
        blocks=blocks_of(debit=debit, credit=credit),
        cause=cause,
    )
    hint = repeat_hint(request_id)
    answer = ask("UnblockAccount", request, home=home, as_name=as_name, hint=hint)
    show(accounts_text([answer.account]), as_data(answer), as_json=as_json)
    return 0
