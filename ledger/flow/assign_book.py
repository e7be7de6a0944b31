"""Assign a book: say where a business line is kept, before anything of it is."""

from __future__ import annotations

from ledger.desk import Desk
from ledger.model import refuse
from ledger.store import book as store
from tongbao.ledger.v1 import reasons_pb2 as reasons


async def assign_book(desk: Desk, business_code: str, name: str) -> int:
    """Return the id of the book in which the line is kept from now on.

    A line for which an account was opened, or anything booked or forbidden, stays in the book of
    that moment: no process can keep it in another one.

    Raises Refused: BOOK_NOT_FOUND, BUSINESS_CODE_IN_USE.
    """
    assigned = await store.assign_book(desk.db, business_code, name)
    if assigned.book_id is None:
        raise refuse(reasons.REASON_BOOK_NOT_FOUND, name=name)
    if not assigned.is_assigned:
        raise refuse(reasons.REASON_BUSINESS_CODE_IN_USE, business_code=business_code)
    return assigned.book_id
