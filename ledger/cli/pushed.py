"""`tongbao ledger pushed`: what became of vouchers at the general ledger."""

from __future__ import annotations

from ledger.cli._ask import OPERATOR, As, Flag, as_data, ask, new_request_id, repeat_hint
from ledger.cli.pushes import pushes_text
from mesh.cli.output import AsJson, Home, show
from mesh.config import ConfigError
from tongbao.ledger.v1 import general_ledger_service_pb2 as pb


def pushed(
    *keys: str,
    accepted: Flag = False,
    rejected: Flag = False,
    again: Flag = False,
    voucher_no: str = "",
    cause: str = "",
    request_id: str = "",
    as_name: As = OPERATOR,
    home: Home = None,
    as_json: AsJson = False,
) -> int:
    """Say that vouchers went to the general ledger, or what it made of them: all or none.

    Exit codes: 0 written down; 1 refused, or nothing answers; 2 the options do not fit.

    Parameters
    ----------
    keys
        Of the vouchers, as the exported file has them, such as 1-20261122-3-CNY.
    accepted
        They are in the general ledger.
    rejected
        They are not, and may go again. Needs --cause.
    again
        They were pushed before and did not arrive. Needs --cause.
    voucher_no
        With --accepted and one voucher: its number in the general ledger.
    cause
        Why.
    request_id
        Your own number of this request: what was done under it is not done again.
    as_name
        Who says so: `operator`, or the private key file `op-<name>.key` of another one.
    home
        The home it runs in. Default: .tongbao, or TONGBAO_HOME.
    as_json
        Write one JSON document.
    """
    if accepted + rejected + again > 1:
        raise ConfigError("--accepted, --rejected, --again: one of them at most")
    state = pb.PUSH_STATE_PUSHED
    if accepted or rejected:
        state = pb.PUSH_STATE_ACCEPTED if accepted else pb.PUSH_STATE_REJECTED
    request_id = new_request_id(request_id)
    request = pb.RecordPushesRequest(
        request_id=request_id,
        external_keys=keys,
        state=state,
        again=again,
        voucher_no=voucher_no,
        cause=cause,
    )
    hint = repeat_hint(request_id)
    verb = "GeneralLedgerService/RecordPushes"
    answer = ask(verb, request, home=home, as_name=as_name, hint=hint)
    show(pushes_text(list(answer.pushes)), as_data(answer), as_json=as_json)
    return 0
