"""Events of orders so old that the database cannot say any more whether they were booked.

Their ids say when they were made. What was dropped from the database is in files, so these are
asked first; what is not there is booked, beside the weeks that are left, as if it had come then.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from ledger.desk import Desk
from ledger.flow._filed import find_filed
from ledger.history.read import FiledEntry
from ledger.model import DIFFERS, Outcome, PostingResult
from ledger.store.history import id_floor
from ledger.store.posting import Chain, forbid_late_chain, post_late_chain


async def post_late(desk: Desk, book_id: int, chain: Chain) -> PostingResult:
    """Book a chain that was refused as TOO_OLD, unless it is in files; return what became of it.

    Raises Refused(HISTORY_MISSING).
    """
    result = None
    while result is None:  # Again when a week was dropped while we looked.
        floor = await id_floor(desk.db, book_id=book_id)
        found, _ = await find_filed(desk, book_id=book_id, ids=chain.ids)
        if found:
            return _repeated(chain, found)
        result = await post_late_chain(desk.db, chain, book_id=book_id, floor=floor)
    return result


async def forbid_late(desk: Desk, book_id: int, txn: UUID, ids: Sequence[UUID]) -> bool:
    """Refuse a chain that is too old for the database, unless it is in files; return whether it
    is booked. `ids` are those of its entries. Raises Refused(HISTORY_MISSING).
    """
    is_booked = None
    while is_booked is None:
        floor = await id_floor(desk.db, book_id=book_id)
        found, _ = await find_filed(desk, book_id=book_id, ids=ids)
        if found:
            return True
        is_booked = await forbid_late_chain(desk.db, txn, book_id=book_id, floor=floor)
    return is_booked


def _repeated(chain: Chain, found: Sequence[FiledEntry]) -> PostingResult:
    """Return what a chain is told whose number was booked: is it the same?"""
    booked = {(one.id, one.debit_id, one.credit_id, one.amount, one.code) for one in found}
    asked = zip(chain.ids, chain.debits, chain.credits, chain.amounts, chain.codes, strict=True)
    if set(asked) <= booked:
        return PostingResult(outcome=Outcome.EXISTS)
    return PostingResult(outcome=Outcome.REFUSED, refusal=DIFFERS)
