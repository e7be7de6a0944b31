"""The simulator's own clock. A provider does not read ours.

Everything a provider dates or waits for (payers, callbacks and their retries, outage windows,
bills) is in virtual time: real time plus a shift that whoever runs the experiment moves
forward. Signatures are dated in real time, for both sides must agree on it.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone

BILL_ZONE = timezone(timedelta(hours=8))  # Where the provider's day ends at midnight.

_Alarm = tuple[int, int, Callable[[], None]]


class ClockError(Exception):
    """The clock was told to go back."""


class Clock:
    """Virtual time and what is to happen at it. Moved forward, it rings all it passes, in order.

    What is due at the same moment happens in the order in which it was asked for.
    """

    def __init__(self) -> None:
        self._shift_ms = 0
        self._alarms: list[_Alarm] = []
        self._serial = itertools.count()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def shift_ms(self) -> int:
        """How far virtual time is ahead of real time."""
        return self._shift_ms

    def now_ms(self) -> int:
        """Return virtual time in milliseconds since 1970."""
        return time.time_ns() // 1_000_000 + self._shift_ms

    def shift(self, shift_ms: int) -> None:
        """Be `shift_ms` ahead of real time from now on. Raises ClockError: it is less than before.

        What has become due by it happens in this very call, before anything else can.
        """
        if shift_ms < self._shift_ms:
            raise ClockError(f"{shift_ms} ms ahead is less than {self._shift_ms} ms")
        self._shift_ms = shift_ms
        self._ring()

    def at(self, moment_ms: int, act: Callable[[], None]) -> None:
        """Call `act` when it is `moment_ms`; soon, if it is by now. Needs a running loop."""
        heapq.heappush(self._alarms, (moment_ms, next(self._serial), act))
        self._wind()

    def after(self, delay_ms: int, act: Callable[[], None]) -> None:
        """Call `act` in `delay_ms`. Needs a running loop."""
        self.at(self.now_ms() + delay_ms, act)

    def _ring(self) -> None:
        """Do what is due; what that asks for may be due at once, too."""
        while self._alarms and self._alarms[0][0] <= self.now_ms():
            heapq.heappop(self._alarms)[2]()
        self._wind()

    def _wind(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._alarms:
            wait_ms = max(0, self._alarms[0][0] - self.now_ms())
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(wait_ms / 1000, self._ring)


def real_seconds() -> int:
    """Return real time in whole seconds since 1970: for signatures."""
    return int(time.time())


def to_text(ms: int) -> str:
    """Return milliseconds since 1970 as RFC 3339 in UTC, e.g. `2026-11-22T10:00:00.123Z`."""
    moment = datetime.fromtimestamp(ms // 1000, UTC).replace(microsecond=ms % 1000 * 1000)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def to_ms(text: object) -> int:
    """Return RFC 3339 text as milliseconds since 1970. Raises ValueError, TypeError."""
    if not isinstance(text, str):
        raise TypeError(f"{text!r} is no time")
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no zone")
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def local_time(ms: int) -> datetime:
    """Return the moment as the provider writes it in its bills."""
    return datetime.fromtimestamp(ms // 1000, BILL_ZONE).replace(microsecond=ms % 1000 * 1000)


def day_of(ms: int) -> date:
    """Return the provider's business day of a moment."""
    return local_time(ms).date()


def start_of(day: date) -> int:
    """Return the moment at which the provider's business day begins."""
    return int(datetime(day.year, day.month, day.day, tzinfo=BILL_ZONE).timestamp()) * 1000
