"""Accounts, statements and holds as the contract spells them, and back."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from ledger.model import Account
from ledger.store.account_change import Past, Terms
from ledger.store.account_view import (
    CLOSED,
    CREDIT_BLOCKED,
    DEBIT_BLOCKED,
    AccountView,
    Named,
    Wish,
)
from ledger.store.holds_view import HoldState, HoldView
from ledger.store.statement import BLUE, EXPIRY, PENDING, POST, RED, VOID, BalanceAt, Line, Span
from ledger.wire import account_from_proto
from mesh.clock import from_timestamp, to_timestamp
from mesh.wire import malformed
from tongbao.ledger.v1 import account_pb2 as pb
from tongbao.ledger.v1 import account_service_pb2 as service_pb
from tongbao.ledger.v1 import ledger_pb2

_MARKS = {pb.BLOCK_DEBIT: DEBIT_BLOCKED, pb.BLOCK_CREDIT: CREDIT_BLOCKED}
_Status = service_pb.ListAccountsRequest.Status
_EVERY_STATUS = range((DEBIT_BLOCKED | CREDIT_BLOCKED | CLOSED) + 1)
_STATUSES = {
    _Status.STATUS_ACTIVE: (0,),
    _Status.STATUS_DEBIT_BLOCKED: tuple(one for one in _EVERY_STATUS if one & DEBIT_BLOCKED),
    _Status.STATUS_CREDIT_BLOCKED: tuple(one for one in _EVERY_STATUS if one & CREDIT_BLOCKED),
    _Status.STATUS_CLOSED: tuple(one for one in _EVERY_STATUS if one & CLOSED),
}
_HOLD_STATES = {state: pb.Hold.State.Value(f"STATE_{state.name}") for state in HoldState}


def named_from_proto(message: pb.AccountRef) -> Named:
    """Return how `message` names an account. Raises Malformed; see `account_from_proto`."""
    if message.WhichOneof("by") == "account_id":
        return Named(account_id=message.account_id)
    account = account_from_proto(message.key)
    return Named(account=account, business_code=message.business_code)


def marks_from_proto(blocks: Iterable[pb.Block.ValueType]) -> int:
    """Return the bits of the status that `blocks` stand for."""
    return sum(_MARKS[block] for block in set(blocks))


def wish_from_proto(request: service_pb.ListAccountsRequest) -> Wish:
    """Return what `request` looks for."""
    name = ledger_pb2.AccountKind.Name(request.kind).removeprefix("ACCOUNT_KIND_").lower()
    return Wish(
        kind=name if request.kind else "",
        owner=request.owner,
        currency_code=request.currency_code,
        statuses=_STATUSES.get(request.status, ()),
        marked=request.status not in (_Status.STATUS_UNSPECIFIED, _Status.STATUS_ACTIVE),
    )


def span_from_proto(request: service_pb.ListStatementRequest) -> Span:
    """Return what the statement is narrowed to.

    Raises Malformed for what is no date, and for times together with dates.
    """
    by_times = request.HasField("since") or request.HasField("until")
    if by_times and (request.from_date or request.to_date):
        told = "must be empty together with since or until"
        field = "from_date" if request.from_date else "to_date"
        raise malformed(field, rule="range", description=told)
    return Span(
        since=from_timestamp(request.since) if request.HasField("since") else None,
        until=from_timestamp(request.until) if request.HasField("until") else None,
        from_date=date_from_proto(request.from_date, field="from_date"),
        to_date=date_from_proto(request.to_date, field="to_date"),
    )


def date_from_proto(text: str, *, field: str) -> date | None:
    """Return the date of `YYYY-MM-DD`, None for an empty text. Raises Malformed."""
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        description = "must be a date of the calendar, YYYY-MM-DD"
        raise malformed(field, rule="date", description=description) from None


def hold_state_from_proto(state: pb.Hold.State.ValueType) -> HoldState:
    """Return the state that `state` stands for."""
    return HoldState[pb.Hold.State.Name(state).removeprefix("STATE_")]


def key_to_proto(account: Account) -> ledger_pb2.AccountKey:
    """Return the message of what an account is called."""
    return ledger_pb2.AccountKey(
        kind=ledger_pb2.AccountKind.Value(f"ACCOUNT_KIND_{account.kind.name}"),
        owner=account.owner,
        currency_code=account.currency_code,
    )


def view_to_proto(view: AccountView) -> pb.Account:
    """Return the message of an account."""
    return pb.Account(
        account_id=view.account_id,
        book_id=view.book_id,
        key=key_to_proto(view.account),
        normal_side=pb.SIDE_CREDIT if view.normal > 0 else pb.SIDE_DEBIT,
        blocks=_blocks(view.status),
        is_closed=bool(view.status & CLOSED),
        posted_minor=view.posted_minor,
        pending_in_minor=view.pending_in_minor,
        pending_out_minor=view.pending_out_minor,
        available_minor=view.available_minor,
        floor_minor=view.floor_minor,
        cap_minor=view.cap_minor,
        debit_minor=view.debit_minor,
        credit_minor=view.credit_minor,
        last_seq=view.last_seq,
        create_time=to_timestamp(view.create_time),
    )


def past_to_proto(past: Past) -> pb.AccountChange:
    """Return the message of something that was done to an account."""
    return pb.AccountChange(
        change_id=past.change_id,
        actor=past.actor,
        verb=past.verb,
        cause=past.cause,
        request_id=past.request_id,
        before=_terms(past.before),
        after=_terms(past.after),
        create_time=to_timestamp(past.create_time),
    )


def line_to_proto(line: Line) -> pb.StatementLine:
    """Return the message of an entry as its account sees it."""
    return pb.StatementLine(
        seq=line.seq,
        transfer_id=str(line.id),
        kind=_kind(line.flags),
        side=pb.SIDE_DEBIT if line.is_debit else pb.SIDE_CREDIT,
        amount_minor=line.amount_minor,
        balance_after_minor=line.balance_after_minor,
        other=key_to_proto(line.other),
        other_account_id=line.other_id,
        is_red=bool(line.flags & RED),
        is_blue=bool(line.flags & BLUE),
        code=line.code,
        template=line.template,
        source_no=line.source_no,
        trace_no=line.trace_no,
        voucher_id=str(line.txn) if line.txn else "",
        ref_id=str(line.ref) if line.ref else "",
        acct_date=line.acct_date.isoformat(),
        create_time=to_timestamp(line.create_time),
    )


def balance_to_proto(view: AccountView, balance: BalanceAt) -> service_pb.GetBalanceAtResponse:
    """Return the message of a balance of the past."""
    return service_pb.GetBalanceAtResponse(
        account_id=view.account_id,
        currency_code=view.account.currency_code,
        posted_minor=balance.posted_minor,
        seq=balance.seq,
        is_final=balance.is_final,
    )


def hold_to_proto(hold: HoldView) -> pb.Hold:
    """Return the message of a hold."""
    return pb.Hold(
        hold_id=str(hold.id),
        debit=key_to_proto(hold.debit),
        credit=key_to_proto(hold.credit),
        amount_minor=hold.amount_minor,
        remaining_minor=hold.remaining_minor,
        state=_HOLD_STATES[hold.state],
        expire_time=to_timestamp(hold.expire_time) if hold.expire_time else None,
        template=hold.template,
        source_no=hold.source_no,
        trace_no=hold.trace_no,
        acct_date=hold.acct_date.isoformat(),
        create_time=to_timestamp(hold.create_time),
    )


def _terms(terms: Terms) -> pb.AccountTerms:
    return pb.AccountTerms(
        blocks=_blocks(terms.status),
        is_closed=bool(terms.status & CLOSED),
        floor_minor=terms.floor_minor,
        cap_minor=terms.cap_minor,
    )


def _blocks(status: int) -> list[pb.Block.ValueType]:
    return [block for block, mark in _MARKS.items() if status & mark]


def _kind(flags: int) -> pb.StatementLine.Kind.ValueType:
    if flags & PENDING:
        return pb.StatementLine.KIND_HELD
    if flags & VOID:
        return pb.StatementLine.KIND_EXPIRED if flags & EXPIRY else pb.StatementLine.KIND_RELEASED
    return pb.StatementLine.KIND_CAPTURED if flags & POST else pb.StatementLine.KIND_BOOKED
