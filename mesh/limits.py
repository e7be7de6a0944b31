"""How much one app may ask of one process: how often, how much at once, how many streams.

The limits are data of the app; an app without any has the defaults of the settings. Each
process counts for itself: with two replicas an app may do twice as much.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from mesh.clock import monotonic
from mesh.config import Settings
from mesh.errors import refuse
from tongbao.common.v1 import reasons_pb2 as reasons

# When the caller may try again where nobody can say when a place will be free.
RETRY_MS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Items a second in the long run, items at a stroke, items in work, open streams.

    A call is one item, a batch as many as it has.
    """

    per_second: int
    burst: int
    in_flight: int
    streams: int

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """Return those of an app without limits of its own."""
        return cls(
            per_second=settings.app_per_second,
            burst=settings.app_burst,
            in_flight=settings.app_in_flight,
            streams=settings.app_streams,
        )


# Returns the limits of an app; None: it has none of its own.
LimitsOf = Callable[[str], Awaitable[Limits | None]]


@dataclass(slots=True)
class Account:
    """What one app does at the moment. A bucket of tokens fills up with time."""

    tokens: float
    at: float
    in_flight: int = 0
    streams: int = 0

    def take(self, limits: Limits, items: int) -> None:
        """Count `items` in; the caller gives them back by `in_flight -= items`.

        A batch that is larger than a limit passes when nothing else is counted against it,
        and is paid off afterwards: or it could never pass.

        Raises Refused, in this order: RATE_LIMITED, TOO_MANY_IN_FLIGHT. Then nothing counts.
        """
        now = monotonic()
        tokens = min(limits.burst, self.tokens + (now - self.at) * limits.per_second)
        self.tokens, self.at = tokens, now
        lacking = min(items, limits.burst) - tokens
        if lacking > 0:
            raise refuse(
                reasons.REASON_RATE_LIMITED,
                limit=limits.per_second,
                retry_after_ms=math.ceil(lacking * 1000 / limits.per_second),
            )
        if self.in_flight and self.in_flight + items > limits.in_flight:
            raise refuse(
                reasons.REASON_TOO_MANY_IN_FLIGHT,
                limit=limits.in_flight,
                retry_after_ms=RETRY_MS,
            )
        self.tokens -= items
        self.in_flight += items

    def open_stream(self, limits: Limits) -> None:
        """Count one more stream in. Raises Refused as `take` does; opening one is an item."""
        if self.streams >= limits.streams:
            raise refuse(
                reasons.REASON_TOO_MANY_IN_FLIGHT,
                limit=limits.streams,
                retry_after_ms=RETRY_MS,
            )
        self.take(limits, 1)
        self.in_flight -= 1
        self.streams += 1


class Accounts:
    """The accounts of all apps that have called."""

    def __init__(self, defaults: Limits, limits_of: LimitsOf | None) -> None:
        self._defaults, self._limits_of = defaults, limits_of
        self._known: dict[str, Account] = {}

    async def limits(self, app_id: str) -> Limits:
        """Return what holds for the app now."""
        own = await self._limits_of(app_id) if self._limits_of else None
        return own or self._defaults

    def account(self, app_id: str, limits: Limits) -> Account:
        """Return the account of the app, full at first. Only call it for apps that exist."""
        account = self._known.get(app_id)
        if account is None:
            account = self._known[app_id] = Account(limits.burst, monotonic())
        return account
