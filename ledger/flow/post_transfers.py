"""Post transfers: the columns of a call, checked as wholes, and what became of each transfer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import reduce
from operator import attrgetter, or_

import orjson

from ledger.desk import Desk
from ledger.model import refuse
from ledger.store.transfer import FREE, Call, Posted, post_call
from mesh.wire import malformed
from tongbao.ledger.v1 import reasons_pb2 as reasons
from tongbao.ledger.v1 import transfer_service_pb2 as pb

ID_AGE_MAX = timedelta(days=35)
ID_AHEAD_MAX = timedelta(minutes=5)

_FLAGS = reduce(or_, pb.TransferFlag.values()) & ~pb.TRANSFER_FLAG_EXPIRY  # The ledger's own.
_SMALL_MAX = 32_767
_ID_BYTES = 16
_COLUMNS = attrgetter(
    "id",
    "debit_account_id",
    "credit_account_id",
    "amount_minor",
    "code",
    "flags",
    "ref",
    "txn",
    "ttl_seconds",
)


async def post_transfers(
    desk: Desk, business_code: str, transfers: Sequence[pb.Transfer]
) -> Posted:
    """Post the transfers as if one by one, in their order; return what became of each.

    What waits for a book at the same moment is posted together, in one block. Python's part is
    a few microseconds a transfer, so columns are looked at and not transfers.

    Raises Malformed, Refused: TRANSFER_ID_OUT_OF_RANGE, BOOK_UNKNOWN. Then nothing was posted.
    """
    call = _packed(transfers)
    _check_ids(desk, [one.id for one in transfers])
    book_id = await desk.accounts.line(business_code)
    return await post_call(desk.db, call, book_id=book_id)


def _packed(transfers: Sequence[pb.Transfer]) -> Call:
    """Return the call by columns. Raises Malformed."""
    ids, debits, credits, amounts, codes, flags, refs, txns, ttls = zip(
        *map(_COLUMNS, transfers), strict=True
    )
    _demand(set(map(len, ids)) == {_ID_BYTES}, "transfers.id", "must have 16 bytes")
    _demand(max(codes) <= _SMALL_MAX, "transfers.code", f"must be at most {_SMALL_MAX}")
    _demand(not reduce(or_, flags) & ~_FLAGS, "transfers.flags", "must be flags for callers")
    _demand(min(ttls) >= 0, "transfers.ttl_seconds", "must not be negative")
    return Call(
        size=len(ids),
        ids=",".join(map(bytes.hex, ids)),
        debits=_numbers(debits),
        credits=_numbers(credits),
        amounts=_numbers(amounts),
        codes=_numbers(codes),
        flags=_numbers([one | FREE for one in flags]),
        refs=_optional_ids("transfers.ref", refs),
        txns=_optional_ids("transfers.txn", txns),
        ttls=_numbers(ttls) if any(ttls) else "",
    )


def _numbers(column: Sequence[int]) -> str:
    return orjson.dumps(column)[1:-1].decode()  # Ten times as fast as joining.


def _optional_ids(field: str, column: Sequence[bytes]) -> str:
    if not any(column):
        return ""
    _demand(set(map(len, column)) <= {0, _ID_BYTES}, field, "must have 16 bytes or none")
    return ",".join([one.hex() or "NULL" for one in column])


def _demand(holds: bool, field: str, description: str) -> None:
    if not holds:
        raise malformed(field, rule="transfer", description=f"{description}, of every transfer")


def _check_ids(desk: Desk, ids: Sequence[bytes]) -> None:
    """Raise Refused(TRANSFER_ID_OUT_OF_RANGE) unless all are UUIDv7 of our time."""
    now = desk.clock.now()
    least, most = _of(now - ID_AGE_MAX), _of(now + ID_AHEAD_MAX)
    # Bytes sort as their times do.
    if least <= min(ids) and max(ids) <= most and all(one[6] >> 4 == 7 for one in ids):
        return
    place, wrong = next(
        (place, one)
        for place, one in enumerate(ids)
        if not least <= one <= most or one[6] >> 4 != 7
    )
    raise refuse(reasons.REASON_TRANSFER_ID_OUT_OF_RANGE, place=place, id=wrong.hex())


def _of(moment: datetime) -> bytes:
    """Return the bytes in front of a UUIDv7 of that moment."""
    return int(moment.timestamp() * 1000).to_bytes(6)
