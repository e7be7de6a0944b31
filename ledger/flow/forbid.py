"""Forbid: make sure that a business event is never booked, unless it was booked before."""

from __future__ import annotations

from ledger.desk import Desk
from ledger.flow._late import forbid_late
from ledger.model import Posting
from ledger.postings import plan
from ledger.store.posting import forbid_chain


async def forbid(desk: Desk, posting: Posting) -> bool:
    """Return whether `posting` is in the books; if not, it is refused from now on.

    Its number and template decide what it is, as when it is booked: of a booking and this, one
    comes first, and the other one is told. Forbidding again changes nothing.

    Raises Refused: TEMPLATE_UNKNOWN, FACT_MISSING, BOOK_UNKNOWN, HISTORY_MISSING.
    """
    txn, entries = plan(posting)
    book_id = await desk.accounts.line(posting.business_code)
    is_booked = await forbid_chain(desk.db, txn, book_id=book_id)
    if is_booked is None:
        is_booked = await forbid_late(desk, book_id, txn, [entry.id for entry in entries])
    return is_booked
