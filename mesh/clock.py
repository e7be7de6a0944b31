"""The only clock. Business time can be shifted forward for tests and demos; real time never.

Shifted: expiry, inquiry, ladders, T+n, dates in numbers, day cut. Real: leases, deadlines,
backoff of infrastructure, TLS, tokens, spans (decisions.md 22). The shift is one row per
schema; SQL reads it by `business_now()` and this class reads the same row.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from google.protobuf.timestamp_pb2 import Timestamp

from mesh.db import Database

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_READ = "SELECT extract(epoch FROM shift)::bigint AS seconds FROM clock"
_ADVANCE = """
UPDATE clock SET shift = shift + make_interval(secs => %(seconds)s)
RETURNING extract(epoch FROM shift)::bigint AS seconds
"""


class Clock:
    """Business time of one service. Fresh as of the last `refresh`."""

    def __init__(self, zone: str = "Asia/Shanghai", *, shift: timedelta | None = None) -> None:
        self.zone = ZoneInfo(zone)
        self._shift = shift or timedelta()

    def now(self) -> datetime:
        """Return business time, in UTC."""
        return datetime.now(UTC) + self._shift

    def local(self) -> datetime:
        """Return business time in the business time zone: the date of it is the business date."""
        return self.now().astimezone(self.zone)

    async def refresh(self, db: Database) -> None:
        """Read the shift anew."""
        [row] = await db.rows(_READ)
        self._shift = timedelta(seconds=row.seconds)

    async def advance(self, db: Database, by: timedelta) -> timedelta:
        """Move the business time of one schema forward and return its whole shift."""
        assert by >= timedelta(), "business time never goes back"
        [row] = await db.rows(_ADVANCE, seconds=int(by.total_seconds()))
        self._shift = timedelta(seconds=row.seconds)
        return self._shift


def real_now() -> datetime:
    """Return real time, in UTC: for leases, tokens, logs."""
    return datetime.now(UTC)


def real_epoch() -> float:
    """Return real time in seconds since 1970: for deadlines that travel."""
    return time.time()


def real_seconds() -> int:
    """Return real time in whole seconds since 1970: for tokens and signatures."""
    return int(time.time())


def monotonic() -> float:
    """Return seconds that only ever grow: for durations."""
    return time.monotonic()


def to_timestamp(moment: datetime) -> Timestamp:
    """Return the message of `moment`."""
    since = moment - EPOCH  # As `FromDatetime` does it, at a third of the cost.
    return Timestamp(seconds=since.days * 86_400 + since.seconds, nanos=since.microseconds * 1_000)


def from_timestamp(stamp: Timestamp) -> datetime:
    """Return the moment of a message, in UTC."""
    return EPOCH + timedelta(seconds=stamp.seconds, microseconds=stamp.nanos // 1_000)
