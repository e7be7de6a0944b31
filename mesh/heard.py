"""Words of neighbours that this process has applied already, so that it need not do it twice.

A neighbour answers a call and tells the same again by an event (decisions.md 21). Whoever
applies the answer says so here, under the number and version that the event will carry; the
consumer then passes that event over. What is forgotten, or never said, is applied again, which
changes nothing (docs/decisions/0003): this saves work and promises nothing.
"""

from __future__ import annotations

import asyncio
from types import TracebackType

WORDS_MAX = 50_000  # Then the oldest is forgotten. An event takes its word away.

Key = tuple[str, int]


class Word:
    """One word while it is applied: `with heard.applying(…)`. It counts if the block ends well."""

    __slots__ = ("_applied", "_heard", "_key")

    def __init__(self, heard: Heard, key: Key) -> None:
        self._heard, self._key = heard, key

    def __enter__(self) -> None:
        self._applied = self._heard.begin(self._key)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._applied.set_result(kind is None)
        if kind is not None:
            self._heard.forget(self._key)


class Heard:
    """One per process: which words were applied, or are being applied now."""

    def __init__(self) -> None:
        self._words: dict[Key, asyncio.Future[bool]] = {}

    def applying(self, number: str, version: int) -> Word:
        """Apply in this block what was said of `number` at `version`."""
        return Word(self, (number, version))

    def take(self, number: str, version: int) -> asyncio.Future[bool] | None:
        """Return whether that word was applied, once it is known; None when nobody had it."""
        return self._words.pop((number, version), None)

    def begin(self, key: Key) -> asyncio.Future[bool]:
        """Note that a word is being applied."""
        if len(self._words) >= WORDS_MAX:
            del self._words[next(iter(self._words))]
        applied = self._words[key] = asyncio.get_running_loop().create_future()
        return applied

    def forget(self, key: Key) -> None:
        """Forget a word that could not be applied."""
        self._words.pop(key, None)
