"""What this service does unasked: asks about attempts that are due."""

from __future__ import annotations

import asyncio

from channel.desk import Desk
from channel.flow.inquire_attempt import inquire_attempt
from channel.model import Attempt
from channel.store.attempt import COLUMNS, attempt_of
from mesh.db import Row
from mesh.due import LEASE_SECONDS, Due

_TURN_SECONDS = LEASE_SECONDS / 2  # Then the rest of the lease is enough for the inquiry.


async def _inquire(desk: Desk, row: Row) -> None:
    """Start an inquiry and do not wait for it: the next rows may be of livelier providers."""
    desk.go_on(_in_turn(desk, attempt_of(row)))


async def _in_turn(desk: Desk, attempt: Attempt) -> None:
    turn = desk.turns[attempt.channel_code]
    try:
        async with asyncio.timeout(_TURN_SECONDS):
            await turn.acquire()
    except TimeoutError:
        return  # It is due again when its lease is over.
    try:
        await inquire_attempt(desk, attempt)
    finally:
        turn.release()


DUE: tuple[Due[Desk], ...] = (
    Due(name="attempt", table="attempt", key="attempt_no", columns=COLUMNS, handle=_inquire),
)
