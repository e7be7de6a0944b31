"""Post: plan the entries of business events, and book each event whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence

from ledger.desk import Desk
from ledger.flow._late import post_late
from ledger.flow._refusals import Refusal
from ledger.model import TOO_OLD, Account, Posting, PostingResult
from ledger.postings import TEMPLATES, plan
from ledger.store.posting import Chain, post_chain
from ledger.wire import voucher_of
from mesh.context import acting
from mesh.events import pack
from tongbao.ledger.v1 import events_pb2

# Ids of no account, for the ledger to refuse and remember. Two of them, because it looks for
# accounts that are the same before it looks for accounts that are missing.
_NO_DEBIT, _NO_CREDIT = -1, -2


async def post(
    desk: Desk, postings: Sequence[Posting], *, instead_of: Refusal | None = None
) -> list[PostingResult]:
    """Book business events in their order, each on its own; return what became of each.

    The same event is booked once, whoever sends it and however often. A refusal is a result,
    and stays: under its number and template the event will not be booked later.
    With `instead_of`, PostingRefused goes out beside what is booked, in the same step.

    Raises Refused before anything is booked: TEMPLATE_UNKNOWN, FACT_MISSING, BOOK_UNKNOWN; of
    a posting that is older than what the database has, HISTORY_MISSING.
    """
    planned = [await _chain(desk, posting, instead_of) for posting in postings]
    return [await _booked(desk, book_id, chain) for book_id, chain in planned]


async def _booked(desk: Desk, book_id: int, chain: Chain) -> PostingResult:
    result = await post_chain(desk.db, chain, book_id=book_id)
    return await post_late(desk, book_id, chain) if result.refusal == TOO_OLD else result


async def _chain(desk: Desk, posting: Posting, instead_of: Refusal | None) -> tuple[int, Chain]:
    """Return the book of `posting` and what is to be written there."""
    txn, entries = plan(posting)
    book_id = await desk.accounts.line(posting.business_code)
    names = [entry.debit for entry in entries] + [entry.credit for entry in entries]
    accounts = await desk.accounts.ids(book_id, names)
    if None in accounts and TEMPLATES[posting.template].opens:
        missing = {name for name, known in zip(names, accounts, strict=True) if known is None}
        for name in sorted(missing):
            await desk.accounts.open(book_id, Account.of(name))
        accounts = await desk.accounts.ids(book_id, names)

    now, app_id = desk.clock.now(), acting().app_id
    # Built before the statement, and published by it only if the chain is booked.
    posted = events_pb2.VoucherPosted(voucher=voucher_of(posting, now))
    event = pack(
        posted, number=str(txn), version=1, app_id=app_id, trace_no=posting.trace_no, time=now
    )
    if instead_of is not None:
        event += instead_of.event(now)
    return book_id, Chain(
        txn=txn,
        template=posting.template,
        source_no=posting.source_no,
        trace_no=posting.trace_no,
        app_id=app_id,
        amount_minor=posting.amount_minor,
        currency_code=posting.currency_code,
        create_time=now,
        event=event,
        ids=[entry.id for entry in entries],
        debits=[one or _NO_DEBIT for one in accounts[: len(entries)]],
        credits=[one or _NO_CREDIT for one in accounts[len(entries) :]],
        amounts=[entry.amount_minor for entry in entries],
        codes=[entry.code for entry in entries],
    )
