"""The service's records as its contract spells them, and back."""

from __future__ import annotations

from datetime import date, datetime

from ledger.model import (
    NATURES,
    Account,
    AccountKind,
    Entry,
    Outcome,
    Posting,
    PostingResult,
    Voucher,
)
from mesh.clock import to_timestamp
from mesh.wire import malformed, money
from tongbao.common.v1 import trace_pb2
from tongbao.ledger.v1 import ledger_pb2

_OUTCOMES = {
    outcome: ledger_pb2.PostingResult.Outcome.Value(f"OUTCOME_{outcome.name}")
    for outcome in Outcome
}


def posting_from_proto(message: ledger_pb2.Posting) -> Posting:
    """Return the record of `message`."""
    return Posting(
        template=message.template,
        source_no=message.source_no,
        trace_no=message.trace_no,
        business_code=message.business_code,
        currency_code=message.amount.currency_code,
        amount_minor=message.amount.minor_units,
        fee_minor=message.fee_minor,
        cost_minor=message.cost_minor,
        channel_code=message.channel_code,
        merchant_id=message.merchant_id,
        user_no=message.user_no,
        reserve_minor=message.reserve_minor,
        available_minor=message.available_minor,
        owed_minor=message.owed_minor,
        to_user_no=message.to_user_no,
        to_merchant_id=message.to_merchant_id,
        to_channel_code=message.to_channel_code,
    )


def posting_to_proto(posting: Posting) -> ledger_pb2.Posting:
    """Return the message of `posting`."""
    return ledger_pb2.Posting(
        template=posting.template,
        source_no=posting.source_no,
        trace_no=posting.trace_no,
        business_code=posting.business_code,
        amount=money(posting.currency_code, posting.amount_minor),
        fee_minor=posting.fee_minor,
        cost_minor=posting.cost_minor,
        channel_code=posting.channel_code,
        merchant_id=posting.merchant_id,
        user_no=posting.user_no,
        reserve_minor=posting.reserve_minor,
        available_minor=posting.available_minor,
        owed_minor=posting.owed_minor,
        to_user_no=posting.to_user_no,
        to_merchant_id=posting.to_merchant_id,
        to_channel_code=posting.to_channel_code,
    )


def result_to_proto(result: PostingResult) -> ledger_pb2.PostingResult:
    """Return the message of `result`."""
    return ledger_pb2.PostingResult(outcome=_OUTCOMES[result.outcome], refusal=result.refusal)


def account_from_proto(message: ledger_pb2.AccountKey) -> Account:
    """Return the record of `message`, whose kind the contract has checked.

    Raises Malformed unless it has an owner exactly when its kind has owners.
    """
    kind = AccountKind[ledger_pb2.AccountKind.Name(message.kind).removeprefix("ACCOUNT_KIND_")]
    if bool(message.owner) != NATURES[kind].owned:
        problem = "must be empty" if message.owner else "must not be empty"
        description = f"{problem} for the kind {kind.name}"
        raise malformed("account.owner", rule="owner", description=description)
    return Account(kind, message.owner, message.currency_code)


def voucher_of(posting: Posting, create_time: datetime) -> ledger_pb2.Voucher:
    """Return the message of the voucher that books `posting` at `create_time`."""
    return ledger_pb2.Voucher(
        template=posting.template,
        source_no=posting.source_no,
        trace_no=posting.trace_no,
        amount=money(posting.currency_code, posting.amount_minor),
        create_time=to_timestamp(create_time),
    )


def voucher_to_trace(voucher: Voucher) -> trace_pb2.TraceEntry:
    """Return `voucher` as one thing of its trace."""
    return trace_pb2.TraceEntry(
        service="ledger",
        kind="voucher",
        number=str(voucher.txn),
        amount=money(voucher.currency_code, voucher.amount_minor),
        create_time=to_timestamp(voucher.create_time),
        update_time=to_timestamp(voucher.create_time),
        facts={"template": voucher.template, "source_no": voucher.source_no},
    )


def entry_to_trace(entry: Entry) -> trace_pb2.TraceEntry:
    """Return `entry` as one thing of its trace."""
    return trace_pb2.TraceEntry(
        service="ledger",
        kind="entry",
        number=str(entry.id),
        amount=money(entry.currency_code, entry.amount_minor),
        create_time=to_timestamp(entry.create_time),
        update_time=to_timestamp(entry.create_time),
        facts={"debit": entry.debit, "credit": entry.credit, "voucher": str(entry.txn)},
    )


def day_of(text: str, field: str) -> date:
    """Return the date that is spelt `text`. Raises Malformed for one that there is not."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise malformed(field, rule="date", description="must be a day of the calendar") from None
