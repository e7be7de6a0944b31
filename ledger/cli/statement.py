"""`tongbao ledger statement`: the entries of an account, with the balance after each."""

from __future__ import annotations

from ledger.cli._ask import OPERATOR, As, Flag, as_data, moment, name_of, ref_of, rows_of
from mesh.cli.output import AsJson, Home, show, table
from mesh.money import major
from tongbao.ledger.v1 import account_pb2
from tongbao.ledger.v1 import account_service_pb2 as pb


def statement(
    account: str,
    *,
    since: str = "",
    until: str = "",
    from_date: str = "",
    to_date: str = "",
    oldest_first: Flag = False,
    holds: Flag = False,
    most: int = 50,
    business_code: str = "",
    as_name: As = OPERATOR,
    home: Home = None,
    as_json: AsJson = False,
) -> int:
    """Show the statement 明细 of an account, the newest entry first.

    Exit codes: 0 shown; 1 there is no such account, or nothing answers; 2 the options do not
    fit.

    Parameters
    ----------
    account
        Its id, or `kind:owner:currency`, such as `wallet:MALL/u1:CNY`.
    since
        Only what was booked at this time or later, such as `2026-11-22T18:00:00+08:00`.
    until
        Only what was booked before this time.
    from_date
        Only from this accounting date on, `YYYY-MM-DD`; not together with times.
    to_date
        Only up to this accounting date, itself included.
    oldest_first
        The oldest entry first.
    holds
        Also what sets money aside and lets it go.
    most
        How many entries at most.
    business_code
        The business line in whose book to look; by default that of the wallet's owner.
    as_name
        Who asks: `operator`, or the private key file `op-<name>.key` of another one.
    home
        The home it runs in. Default: .tongbao, or TONGBAO_HOME.
    as_json
        Write one JSON document.
    """
    request = pb.ListStatementRequest(
        account=ref_of(account, business_code=business_code),
        from_date=from_date,
        to_date=to_date,
        oldest_first=oldest_first,
        include_holds=holds,
        since=moment(since, option="--since") if since else None,
        until=moment(until, option="--until") if until else None,
    )
    found = rows_of("ListStatement", "lines", request, most=most, home=home, as_name=as_name)
    lines = list(found)
    show(_text(lines), {"lines": [as_data(line) for line in lines]}, as_json=as_json)
    return 0


def _text(lines: list[account_pb2.StatementLine]) -> str:
    if not lines:
        return "no entries"
    rows = [["seq", "date", "booked", "side", "amount", "balance", "what", "order", "other"]]
    for line in lines:
        code = line.other.currency_code
        kind = account_pb2.StatementLine.Kind.Name(line.kind).removeprefix("KIND_").lower()
        words = [line.template or str(line.code)]
        words += [kind] if line.kind != account_pb2.StatementLine.KIND_BOOKED else []
        words += ["red"] if line.is_red else ["blue"] if line.is_blue else []
        rows.append(
            [
                str(line.seq),
                line.acct_date,
                line.create_time.ToJsonString(),
                account_pb2.Side.Name(line.side).removeprefix("SIDE_").lower(),
                major(line.amount_minor, code),
                major(line.balance_after_minor, code),
                " ".join(words),
                line.source_no,
                name_of(line.other),
            ]
        )
    return table(rows)
