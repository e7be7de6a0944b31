"""Look transfers up: what was posted under an id, or what is remembered against it."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from ledger.desk import Desk
from ledger.flow._filed import find_filed
from ledger.model import refuse
from ledger.store import transfer as store
from ledger.store.account import find_book
from mesh.wire import malformed
from tongbao.ledger.v1 import reasons_pb2 as reasons

_ID_BYTES = 16


async def lookup_transfers(
    desk: Desk, business_code: str, ids: Sequence[bytes]
) -> list[store.Known]:
    """Return what is known of each id, in order.

    What is in neither database nor files was never posted: an id that is too old for the database
    is looked for in the files of every day since the time it says.

    Raises Malformed, Refused: BOOK_UNKNOWN, HISTORY_MISSING.
    """
    if set(map(len, ids)) != {_ID_BYTES}:
        raise malformed("ids", rule="id", description="each must have 16 bytes")
    book_id = await find_book(desk.db, business_code)
    if book_id is None:
        raise refuse(reasons.REASON_BOOK_UNKNOWN, business_code=business_code)
    known = await store.lookup(desk.db, ",".join(map(bytes.hex, ids)), book_id=book_id)
    old = {UUID(bytes=one) for one, is_ in zip(ids, known, strict=True) if is_.may_be_filed}
    if not old:
        return known
    entries, _ = await find_filed(desk, book_id=book_id, ids=old)
    filed = await store.known_filed(desk.db, entries)
    found = {entry.id.bytes: one for entry, one in zip(entries, filed, strict=True)}
    return [found.get(one, before) for one, before in zip(ids, known, strict=True)]
