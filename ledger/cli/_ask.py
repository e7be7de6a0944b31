"""What the verbs share: naming an account, asking the ledger, telling what came back."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import grpc
from cyclopts import Parameter
from google.protobuf import json_format
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from mesh.cli.call import describe, find_method, send
from mesh.cli.callers import OPERATOR_NAME
from mesh.cli.output import table
from mesh.config import ConfigError, load
from mesh.embedded.places import StartError
from mesh.money import major
from tongbao.ledger.v1 import account_pb2 as pb
from tongbao.ledger.v1 import ledger_pb2

As = Annotated[str, Parameter(name="--as")]
Flag = Annotated[bool, Parameter(negative=())]
OPERATOR = OPERATOR_NAME
PAGE_MAX = 200

# What to do about what the ledger refuses; other reasons by their status code.
_NEXT = {
    "ACCOUNT_NOT_FOUND": "Look for it: `tongbao ledger accounts`, with --owner or --kind",
    "BOOK_UNKNOWN": "Name a business line that has a book by --business-code, or leave it out",
    "REQUEST_REUSED": "Leave --request-id out, so that the request gets a new one",
    "ACCOUNT_CLOSED": "Nothing: it was closed for good; `tongbao ledger account` says by whom",
    "ACCOUNT_NOT_EMPTY": "Pay out what is on it, and wait for its holds, which "
    "`tongbao ledger holds` lists; then close it",
    "ACCOUNT_INDISPENSABLE": "Only wallets and what merchants have (pending, available, reserve) "
    "can be blocked, limited or closed: everybody's money passes the other kinds, and a payout in "
    "transit must arrive. Block the customer's own accounts, which `tongbao ledger accounts` lists "
    "with --merchant or --wallet",
    "FLOOR_TOO_LOW": "Set a floor of 0 or more",
    "LIMITS_CROSSED": "Set both limits, the floor at or below the cap",
    "BOOK_NOT_FOUND": "Leave --book out for the first book",
    "DAY_NOT_FOUND": "See which days there are: `tongbao ledger days`",
    "DAY_NOT_CUT": "Cut it off first: `tongbao ledger cut` with the next date",
    "DAY_NOT_CLOSED": "Close the days up to it, each by `tongbao ledger close-day`",
    "DAY_UNBALANCED": "Find out where the journal was changed: "
    "`tongbao call LedgerOpsService/ProveBook`",
    "CUT_DATE_REFUSED": "Name the date behind that of the book: `tongbao ledger days`",
    "VOUCHER_NOT_FOUND": "See which vouchers there are: `tongbao ledger pushes`",
    "PUSH_REFUSED": "See where the voucher is: `tongbao ledger pushes`. What is pushed goes once "
    "more only with --again, what is accepted never",
    "VOUCHERS_UNFIT": "Do as the problem says, and export again",
    "HISTORY_MISSING": "Put the file back from its copy, into ledger/history of the home",
    "LIMIT_BREACHED": "Set a limit that the account keeps, or --allow-breach: then only what "
    "brings it back will pass",
}


def ask(verb: str, request: Message, *, home: Path | None, as_name: str, hint: str = "") -> Any:
    """Return what the ledger answers to the operator; a verb without a service is an account's.

    Raises StartError, whose next step begins with `hint` where it may have been done.
    """
    settings = load(home=home)
    service, _, name = verb.rpartition("/")
    method = find_method(f"ledger.v1.{service or 'AccountService'}/{name}")
    try:
        return send(settings, method, request, as_name)
    except grpc.RpcError as error:
        told = describe(error)
        facts = [f"{key} = {value}" for key, value in sorted(told["metadata"].items())]
        facts += [
            ": ".join(filter(None, (one["field"], one["description"])))  # Some are of no one field.
            for one in told["violations"]
        ]
        step = _NEXT.get(told["reason"], told["next"])
        if told["reason"] not in _NEXT and hint:
            step = f"{hint}. {step}"
        raise StartError(
            str(told["error"]),
            why=", ".join([told["reason"] or told["code"], *facts]),
            next_step=step,
        ) from None


def rows_of(
    verb: str, rows: str, request: Any, *, most: int, home: Path | None, as_name: str
) -> Iterator[Any]:
    """Yield up to `most` of the `rows` that `verb` answers to `request`, page by page."""
    if most < 1:
        raise ConfigError(f"--most: must be positive (got {most})")
    while True:
        request.page_size = min(most, PAGE_MAX)
        answer = ask(verb, request, home=home, as_name=as_name)
        found = getattr(answer, rows)[:most]
        yield from found
        most -= len(found)
        request.page_token = answer.next_page_token
        if not most or not answer.next_page_token:
            return


def ref_of(account: str, *, business_code: str = "") -> pb.AccountRef:
    """Return how the contract names `account`. Raises ConfigError."""
    if account.isdecimal() and int(account) > 0:
        return pb.AccountRef(account_id=int(account))
    kind, _, rest = account.partition(":")
    owner, colon, currency_code = rest.rpartition(":")
    if not colon:
        raise ConfigError(
            "account: must be an id or kind:owner:currency, such as wallet:MALL/u1:CNY"
            f" (got {account!r})"
        )
    key = ledger_pb2.AccountKey(kind=kind_of(kind), owner=owner, currency_code=currency_code)
    return pb.AccountRef(key=key, business_code=business_code)


def kind_of(name: str) -> ledger_pb2.AccountKind.ValueType:
    """Return the kind called `name`, in any case. Raises ConfigError."""
    known = {
        value.removeprefix("ACCOUNT_KIND_").lower(): number
        for value, number in ledger_pb2.AccountKind.items()
        if number
    }
    if name.lower() not in known:
        raise ConfigError(f"kind: must be one of {', '.join(known)} (got {name!r})")
    return known[name.lower()]


def blocks_of(*, debit: bool, credit: bool) -> list[pb.Block.ValueType]:
    """Return which sides are meant. Raises ConfigError for none."""
    if not debit and not credit:
        raise ConfigError("say which side: --debit 止付, --credit 止收, or both")
    sides = ((debit, pb.BLOCK_DEBIT), (credit, pb.BLOCK_CREDIT))
    return [block for is_meant, block in sides if is_meant]


def moment(text: str, *, option: str) -> Timestamp:
    """Return the moment of an RFC 3339 text. Raises ConfigError."""
    stamp = Timestamp()
    try:
        stamp.FromJsonString(text)
    except ValueError:
        raise ConfigError(
            f"{option}: must be a time such as 2026-11-22T18:00:00+08:00 (got {text!r})"
        ) from None
    return stamp


def new_request_id(given: str) -> str:
    """Return the request id to use: the one that was given, or a new one."""
    return given or f"cli-{uuid.uuid4().hex[:24]}"


def repeat_hint(request_id: str) -> str:
    """Return how to find out what became of a request that nobody answered."""
    return f"To be sure that it is done once, repeat it with --request-id {request_id}"


def as_data(message: Message) -> dict[str, Any]:
    """Return a message as JSON has it, zeros included."""
    told: dict[str, Any] = json_format.MessageToDict(
        message, always_print_fields_with_no_presence=True
    )
    return told


def name_of(key: ledger_pb2.AccountKey) -> str:
    """Return what an account is called in its book."""
    kind = ledger_pb2.AccountKind.Name(key.kind).removeprefix("ACCOUNT_KIND_").lower()
    return f"{kind}:{key.owner}:{key.currency_code}"


def standing(account: pb.Account | pb.AccountTerms) -> str:
    """Return how an account stands: `open`, `closed`, or what it is blocked for."""
    if account.is_closed:
        return "closed"
    sides = [pb.Block.Name(block).removeprefix("BLOCK_").lower() for block in account.blocks]
    return f"no {' no '.join(sides)}" if sides else "open"


def limit(account: pb.Account | pb.AccountTerms, field: str, currency_code: str) -> str:
    """Return a limit, `-` for none."""
    if field == "floor":
        return major(account.floor_minor, currency_code) if account.HasField("floor_minor") else "-"
    return major(account.cap_minor, currency_code) if account.HasField("cap_minor") else "-"


def accounts_text(accounts: list[pb.Account]) -> str:
    """Return accounts as a table."""
    if not accounts:
        return "no accounts"
    rows = [["id", "account", "posted", "in", "out", "available", "floor", "cap", "standing"]]
    for one in accounts:
        code = one.key.currency_code
        rows.append(
            [
                str(one.account_id),
                name_of(one.key),
                major(one.posted_minor, code),
                major(one.pending_in_minor, code),
                major(one.pending_out_minor, code),
                major(one.available_minor, code),
                limit(one, "floor", code),
                limit(one, "cap", code),
                standing(one),
            ]
        )
    return table(rows)
