"""Look transfers up: what was posted under an id, or what is remembered against it."""

from __future__ import annotations

from collections.abc import Sequence

from ledger.desk import Desk
from ledger.model import refuse
from ledger.store import transfer as store
from ledger.store.account import find_book
from mesh.db import Row
from mesh.wire import malformed
from tongbao.ledger.v1 import reasons_pb2 as reasons

_ID_BYTES = 16


async def lookup_transfers(desk: Desk, business_code: str, ids: Sequence[bytes]) -> list[Row]:
    """Return a row for each id, in order; see `store.transfer.lookup`.

    Raises Malformed, Refused: BOOK_UNKNOWN.
    """
    if set(map(len, ids)) != {_ID_BYTES}:
        raise malformed("ids", rule="id", description="each must have 16 bytes")
    book_id = await find_book(desk.db, business_code)
    if book_id is None:
        raise refuse(reasons.REASON_BOOK_UNKNOWN, business_code=business_code)
    return await store.lookup(desk.db, ",".join(map(bytes.hex, ids)), book_id=book_id)
