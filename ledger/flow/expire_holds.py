"""Expire holds: let go what was set aside until a time that is over."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections import defaultdict
from datetime import datetime

import structlog

from ledger.desk import Desk
from ledger.store.hold import find_due
from ledger.store.transfer import FREE, TRANSFERS_MAX, Call, post_call
from mesh.db import Row
from tongbao.ledger.v1 import transfer_service_pb2 as pb

_FLAGS = pb.TRANSFER_FLAG_VOID | pb.TRANSFER_FLAG_EXPIRY | FREE
# Let go now, or somebody was quicker: another process, or a caller at the last moment.
_ENDED = {
    pb.RESULT_CODE_OK,
    pb.RESULT_CODE_EXISTS,
    pb.RESULT_CODE_HOLD_ALREADY_POSTED,
    pb.RESULT_CODE_HOLD_ALREADY_VOIDED,
    pb.RESULT_CODE_HOLD_EXPIRED,
}

log = structlog.get_logger()


async def expire_holds(desk: Desk, *, limit: int = TRANSFERS_MAX) -> int:
    """Let go at most `limit` holds whose time is over; return how many ended.

    They are voided as any caller voids, under ids that follow from the holds: however many
    processes do it at once, each hold is let go once.
    """
    due: defaultdict[int, list[Row]] = defaultdict(list)
    for row in await find_due(desk.db, limit=limit):
        due[row.book_id].append(row)
    ended = await asyncio.gather(*(_let_go(desk, book_id, rows) for book_id, rows in due.items()))
    return sum(ended)


async def _let_go(desk: Desk, book_id: int, rows: list[Row]) -> int:
    """Void the holds of one book; return how many have ended now."""
    zeros = ",".join(["0"] * len(rows))
    call = Call(
        size=len(rows),
        ids=",".join(_expiry_id(row.id, row.expire_time).hex for row in rows),
        debits=zeros,
        credits=zeros,
        amounts=zeros,
        codes=",".join(str(row.code) for row in rows),
        flags=",".join([str(_FLAGS)] * len(rows)),
        refs=",".join(row.id.hex for row in rows),
    )
    posted = await post_call(desk.db, call, book_id=book_id)
    for row, result in zip(rows, posted.results, strict=True):
        if result not in _ENDED:
            log.error("hold_not_let_go", id=str(row.id), result=pb.ResultCode.Name(result))
    return sum(result in _ENDED for result in posted.results)


def _expiry_id(hold_id: uuid.UUID, expire_time: datetime) -> uuid.UUID:
    """Return the UUIDv7 of the transfer that lets a hold go; its time is the hold's last."""
    ms = int(expire_time.timestamp() * 1000)
    chance = int.from_bytes(hashlib.sha256(b"expiry" + hold_id.bytes).digest()[:10])
    bits = ms << 80 | chance
    bits = bits & ~(0xF << 76) | 7 << 76  # Version 7,
    bits = bits & ~(0x3 << 62) | 2 << 62  # variant 10.
    return uuid.UUID(int=bits)
