"""Forbid: make sure that a business event is never booked, unless it was booked before."""

from __future__ import annotations

from ledger.desk import Desk
from ledger.model import Posting
from ledger.postings import plan
from ledger.store.posting import forbid_chain


async def forbid(desk: Desk, posting: Posting) -> bool:
    """Return whether `posting` is in the books; if not, it is refused from now on.

    Its number and template decide what it is, as when it is booked: of a booking and this, one
    comes first, and the other one is told. Forbidding again changes nothing.

    Raises Refused: TEMPLATE_UNKNOWN, FACT_MISSING, BOOK_UNKNOWN.
    """
    txn, _ = plan(posting)
    book_id = await desk.accounts.book_of(posting.business_code)
    return await forbid_chain(desk.db, txn, book_id=book_id)
