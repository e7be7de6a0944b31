"""How much work of one kind a process takes at once, so that it always answers fast.

Work that has begun is never thrown away, so what is too much must be turned away at the
door, at once and for certain. How much is too much depends on the machine and on all services
behind; nobody can write it down. It is measured: while there is a standing queue somewhere,
even the quickest calls of a method are slow. So twice a second the quick tenth of the calls
that went well is looked at. Slower than the target: less room, in proportion, at most half of
it. Quick and the room was full: a fifth more. One provider that hangs makes some calls slow,
never the quick ones, and takes no room from the others (CoDel looks at the least delay for the
same reason).

A room begins small, so that a sudden flood is not let in before anything is known. While no
queue has been seen for a while it takes twice its limit, and twice as much again when it is full
and nothing has ended: those inside wait for somebody else, and not for us.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict

from mesh.clock import monotonic
from mesh.errors import refuse
from tongbao.common.v1 import reasons_pb2 as reasons

TARGET_SECONDS = 0.25
WINDOW_SECONDS = 0.5
_SAMPLES_MIN = 10  # Of one method in a window, to say anything.
_LESS, _MORE = 0.5, 1.2  # In one step at most.
_CALM_WINDOWS = 10  # Without a queue, to trust that there is none.
_TRUST = 2
_RETRY_MS = (100, 500)


class Room:
    """Places for `least` to `most` items; it begins with `least`."""

    def __init__(self, *, least: int, most: int) -> None:
        assert 0 < least <= most, (least, most)

        self._least, self._most = least, most
        self.limit = float(least)
        self.taken = 0
        self._by_app: Counter[str] = Counter()
        self._seconds: defaultdict[str, list[float]] = defaultdict(list)
        self._judge_at = 0.0
        self._was_full = False
        self._calm = _CALM_WINDOWS

    def enter(self, app_id: str, items: int) -> None:
        """Take places for `items`. Raises Refused(OVERLOADED) and takes none.

        An app that has far less than its share gets in though the room is full of another's
        calls; and whatever the limit is, an empty room takes any batch.
        """
        if self._lacks(items):
            self._note_full()
            own = self._by_app[app_id] + items
            others = len(self._by_app) - (app_id in self._by_app)
            share = self._seats() / (2 * (others + 1))
            if self._lacks(items) and (not others or own > share):
                raise refuse(
                    reasons.REASON_OVERLOADED,
                    limit=int(self._seats()),
                    # Spread, or all that were refused would come back at once.
                    retry_after_ms=random.randint(*_RETRY_MS),  # noqa: S311
                )
        self.taken += items
        self._by_app[app_id] += items

    def leave(self, app_id: str, items: int) -> None:
        """Give the places back."""
        self.taken -= items
        self._by_app[app_id] -= items
        if not self._by_app[app_id]:
            del self._by_app[app_id]

    def learn(self, method: str, seconds: float) -> None:
        """Note how long a call that went well took, and see whether the room fits."""
        self._seconds[method].append(seconds)
        self._judge_when_due()

    def _seats(self) -> float:
        trust = _TRUST if self._calm >= _CALM_WINDOWS else 1
        return min(self._most, self.limit * trust)

    def _lacks(self, items: int) -> bool:
        return self.taken > 0 and self.taken + items > self._seats()

    def _note_full(self) -> None:
        """Note that somebody found no place, and judge a whole window later at the earliest."""
        if not self._was_full:
            self._was_full = True
            self._judge_at = max(self._judge_at, monotonic() + WINDOW_SECONDS)
        self._judge_when_due()

    def _judge_when_due(self) -> None:
        now = monotonic()
        if now >= self._judge_at:
            self._judge_at = now + WINDOW_SECONDS
            self._judge()

    def _judge(self) -> None:
        if self._was_full and not self._seconds:  # Nothing has ended: it is not we who are slow.
            self._was_full = False
            self._grow(_TRUST)
            return
        quick = [
            sorted(seconds)[len(seconds) // 10]
            for seconds in self._seconds.values()
            if len(seconds) >= _SAMPLES_MIN
        ]
        if not quick:
            return  # Too few to judge; they are kept for the next time.
        if (slow := max(quick)) > TARGET_SECONDS:
            self._calm = 0
            self.limit = max(self._least, self.limit * max(_LESS, TARGET_SECONDS / slow))
        else:
            self._calm += 1
            if self._was_full:
                self._grow(_MORE)
        self._was_full = False
        self._seconds.clear()

    def _grow(self, times: float) -> None:
        self.limit = min(self._most, self.limit * times)
