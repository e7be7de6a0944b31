"""`tongbao ledger accounts`: accounts by what they are, or all of one owner."""

from __future__ import annotations

from typing import Any, Literal

from ledger.cli._ask import OPERATOR, As, accounts_text, as_data, ask, kind_of, rows_of
from mesh.cli.output import AsJson, Home, show
from mesh.config import ConfigError
from tongbao.ledger.v1 import account_service_pb2 as pb

Status = Literal["active", "debit-blocked", "credit-blocked", "closed"]


def accounts(
    *,
    kind: str = "",
    owner: str = "",
    currency: str = "",
    status: Status | None = None,
    merchant: str = "",
    wallet: str = "",
    most: int = 50,
    as_name: As = OPERATOR,
    home: Home = None,
    as_json: AsJson = False,
) -> int:
    """List accounts, the newest first; or all that a merchant or a wallet's owner has.

    Exit codes: 0 listed; 1 nothing answers; 2 the options do not fit.

    Parameters
    ----------
    kind
        Only of this kind, such as `wallet` or `merchant_pending`.
    owner
        Only of this owner: a merchant's id, `<business code>/<user no>`, a channel account.
    currency
        Only in this currency.
    status
        Only those that stand so.
    merchant
        All accounts of this merchant. Only --currency may narrow it.
    wallet
        All accounts of this wallet's owner, `<business code>/<user no>`, likewise.
    most
        How many at most.
    as_name
        Who asks: `operator`, or the private key file `op-<name>.key` of another one.
    home
        The home it runs in. Default: .tongbao, or TONGBAO_HOME.
    as_json
        Write one JSON document.
    """
    found: list[Any]
    if merchant or wallet:
        if kind or owner or status or (merchant and wallet):
            raise ConfigError("--merchant or --wallet may be narrowed by --currency only")
        whose = _whose(merchant, wallet, currency)
        found = list(ask("ListOwnerAccounts", whose, home=home, as_name=as_name).accounts)
    else:
        request = pb.ListAccountsRequest(owner=owner, currency_code=currency)
        if kind:
            request.kind = kind_of(kind)
        if status:
            name = f"STATUS_{status.replace('-', '_').upper()}"
            request.status = pb.ListAccountsRequest.Status.Value(name)
        listed = rows_of("ListAccounts", "accounts", request, most=most, home=home, as_name=as_name)
        found = list(listed)
    show(accounts_text(found), {"accounts": [as_data(one) for one in found]}, as_json=as_json)
    return 0


def _whose(merchant: str, wallet: str, currency: str) -> pb.ListOwnerAccountsRequest:
    if merchant:
        return pb.ListOwnerAccountsRequest(merchant_id=merchant, currency_code=currency)
    business_code, slash, user_no = wallet.partition("/")
    if not slash:
        raise ConfigError(f"--wallet: must be <business code>/<user no> (got {wallet!r})")
    owner = pb.WalletOwner(business_code=business_code, user_no=user_no)
    return pb.ListOwnerAccountsRequest(wallet=owner, currency_code=currency)
