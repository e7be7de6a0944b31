"""Who watches which trade, and how news of it reaches them.

News comes three ways. What this process writes itself is told at once, with the row (`saw`).
What another replica writes is heard on this service's own subject (`listen`): only that
something happened, and the row is read. And a slow poll reads what no event tells of, and what
was missed: events travel to a listener without acknowledgement, on purpose, because nothing
but a second of delay hangs on them. However many watch, a look is one statement.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from google.protobuf.message import DecodeError

from mesh import streams
from mesh.batch import NotExecuted, Undone, Unknown
from mesh.clock import monotonic
from mesh.db import Database
from tongbao.common.v1 import event_pb2
from trade.model import Trade
from trade.store.kept import find_newer

POLL_SECONDS = 1.0
_SERVICE = "trade"

log = structlog.get_logger()


class Watcher:
    """One who watches: the newest trade that was told, and what it is woken by."""

    def __init__(self) -> None:
        self._news: Trade | None = None
        self._woken = asyncio.Event()

    def tell(self, trade: Trade) -> None:
        """Give news; what is older than the last ones is none."""
        if self._news is None or trade.version > self._news.version:
            self._news = trade
            self._woken.set()

    async def newer(self, version: int) -> Trade:
        """Return the trade as soon as it is newer than `version`."""
        while self._news is None or self._news.version <= version:
            self._woken.clear()
            await self._woken.wait()
        return self._news


class _Watched:
    """One trade that somebody watches, and the newest version that was read of it here."""

    def __init__(self, app_id: str, version: int) -> None:
        self.app_id, self.version = app_id, version
        self.watchers: set[Watcher] = set()


class Watchers:
    """One per process."""

    def __init__(self, db: Database, nats_url: str) -> None:
        self._db, self._nats_url = db, nats_url
        self._watched: dict[str, _Watched] = {}
        self._due: set[str] = set()  # To be read at once.
        self._wake = asyncio.Event()

    @contextmanager
    def watching(self, trade: Trade) -> Iterator[Watcher]:
        """Yield a watcher of `trade`, as it was read a moment ago; it is read again at once."""
        watched = self._watched.get(trade.trade_no)
        if watched is None:
            watched = _Watched(trade.app_id, trade.version)
            self._watched[trade.trade_no] = watched
        watcher = Watcher()
        watched.watchers.add(watcher)
        # Others may have been told of a newer one while this one was read: it is read for all.
        watched.version = min(watched.version, trade.version)
        self._look_at(trade.trade_no)
        try:
            yield watcher
        finally:
            watched.watchers.discard(watcher)
            if not watched.watchers:
                self._watched.pop(trade.trade_no, None)

    def saw(self, trade: Trade) -> None:
        """Tell whoever watches it: this is how `trade` stands, as it was committed."""
        watched = self._watched.get(trade.trade_no)
        if watched is None:
            return
        watched.version = max(watched.version, trade.version)
        for watcher in watched.watchers:
            watcher.tell(trade)

    async def run(self) -> None:
        """Read what is due, and now and then everything that is watched, until cancelled."""
        look_at = monotonic() + POLL_SECONDS
        while True:
            await self._rest(look_at - monotonic())
            due, self._due = self._due, set()
            self._wake.clear()
            if monotonic() >= look_at:
                due, look_at = set(self._watched), monotonic() + POLL_SECONDS
            try:
                await self._look(due)
            except (NotExecuted, Unknown, Undone) as error:  # The next poll reads it.
                log.warning("watched_not_read", problem=str(error))

    async def listen(self) -> None:
        """Hear what every replica of this service publishes, until cancelled."""
        await streams.overhear(self._nats_url, _SERVICE, self._heard)

    def _heard(self, data: bytes) -> None:
        if not self._watched:
            return  # Reading what nobody asked for would cost more than all the rest here.
        try:
            batch = event_pb2.EventBatch.FromString(data)
        except DecodeError:
            return  # Consumers set it aside; here it is no news.
        for event in batch.events:
            watched = self._watched.get(event.number)
            if watched is not None and event.version > watched.version:
                self._look_at(event.number)

    def _look_at(self, trade_no: str) -> None:
        self._due.add(trade_no)
        self._wake.set()

    async def _rest(self, seconds: float) -> None:
        """Return when something is due, or after `seconds`."""
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _look(self, trade_nos: set[str]) -> None:
        known = {no: self._watched[no] for no in trade_nos if no in self._watched}
        if not known:
            return
        seen = [(no, watched.app_id, watched.version) for no, watched in known.items()]
        for trade in await find_newer(self._db, seen):
            self.saw(trade)
