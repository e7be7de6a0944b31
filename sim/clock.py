"""The simulator's own clock. A provider does not read ours."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def now_seconds() -> int:
    """Return the time in whole seconds since 1970."""
    return int(time.time())


def now_ms() -> int:
    """Return the time in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def to_text(ms: int) -> str:
    """Return milliseconds since 1970 as RFC 3339 in UTC, e.g. `2026-11-22T10:00:00.123Z`."""
    moment = datetime.fromtimestamp(ms // 1000, UTC).replace(microsecond=ms % 1000 * 1000)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
