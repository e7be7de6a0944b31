"""The messenger, who tells callers what happened, and now and then what did not."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import aiohttp
import orjson
from yarl import URL

from sim import signing
from sim.book import Book, Happening, Key, Order, State, What
from sim.clock import Clock, real_seconds, to_text
from sim.faults import AFTER_S, SILENT, Fault, Kind
from sim.journal import Journal

RETRY_SECONDS = (1, 2, 5, 10, 30, 60)
CALLBACKS_MAX = 64
CALLBACK_TIMEOUT_SECONDS = 5
STALE_SECONDS = 2 * signing.WINDOW_SECONDS

_log = logging.getLogger(__name__)

_SAID = {
    What.PAID: State.SUCCEEDED,
    What.PAID_AGAIN: State.SUCCEEDED,
    What.REFUNDED: State.SUCCEEDED,
    What.FAILED: State.FAILED,
    What.REVERSED: State.REVERSED,
}


class Seal(StrEnum):
    """How a callback is sealed: as it should be, or in a way that nobody may believe."""

    TRUE = "true"
    STALE = "stale"  # Signed long ago.
    FORGED = "forged"  # Signed with a secret that is nobody's.
    OTHER = "other"  # Another acquirer's, and signed by that one.


# What comes once before the true callback, whose fault this is. Nobody minds its answer.
_HERALDS = {
    Fault.STALE_CALLBACK: Seal.STALE,
    Fault.FORGED_CALLBACK: Seal.FORGED,
    Fault.WRONG_ACCOUNT: Seal.OTHER,
}


@dataclass(slots=True)
class _Errand:
    """Something to tell. None for the news that a payer is still thinking, told too late."""

    order: Order
    happening: Happening | None
    tries: int = 0


class Messenger:
    """Calls back until the caller says OK, about one thing after the other for each order.

    What was taken is in the book, so a new messenger over the same book takes up where this
    one was stopped or killed. Callbacks may therefore come more than once. `counts` has how
    many callbacks went out and how many were taken, by seal.
    """

    def __init__(
        self,
        book: Book,
        *,
        journal: Journal,
        clock: Clock,
        keys: Mapping[str, bytes],
        hang_callback_after_ms: int | None,
    ) -> None:
        """`keys` has the secret of every acquirer."""
        self._book, self._journal, self._clock, self._keys = book, journal, clock, keys
        self._hang_callback_after_ms = hang_callback_after_ms
        self._due: asyncio.Queue[_Errand] = asyncio.Queue()
        self._busy: set[Key] = set()
        self._heralded: set[Key] = set()
        self._session: aiohttp.ClientSession | None = None
        self.counts: Counter[str] = Counter()

    def announce(self, order: Order) -> None:
        """Have the caller told of the next thing, unless the order's fault is that nobody tells."""
        happening = self._next(order)
        delay_ms = self._delay_of(order)
        if happening is None or delay_ms is None or order.key in self._busy:
            return
        self._busy.add(order.key)
        self._later(delay_ms, _Errand(order, happening))

    def hold(self, order: Order) -> None:
        """Announce nothing of this order until `tell_now`."""
        self._busy.add(order.key)

    async def tell_now(self, order: Order) -> None:
        """Tell the caller at once, whether it takes it or not; if not, it is told again later."""
        happening = self._next(order)
        if happening is not None:
            await self._journal.settled()
            if await self.send(order, _message(order, happening)):
                self._book.tell(order, happening)
        self._busy.discard(order.key)
        self.announce(order)

    async def run(self) -> None:
        """Call back until cancelled."""
        timeout = aiohttp.ClientTimeout(total=CALLBACK_TIMEOUT_SECONDS)
        connector = aiohttp.TCPConnector(limit=0)
        async with (
            aiohttp.ClientSession(
                connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()
            ) as self._session,
            asyncio.TaskGroup() as group,
        ):
            for _ in range(CALLBACKS_MAX):
                group.create_task(self._deliver_all())

    async def repeat(self, order: Order, seal: Seal) -> bool | None:
        """Tell once more what was told first; None when nothing happened yet."""
        if not order.happenings:
            return None
        return await self.send(order, _message(order, order.happenings[0]), seal=seal)

    def _next(self, order: Order) -> Happening | None:
        """Return what is to be told next; None when the caller knows everything, or must wait."""
        untold = [one for one in order.happenings if not one.is_told]
        if order.fault is Fault.REVERSED_FIRST:
            if order.state is not State.REVERSED:
                return None
            untold.reverse()
        return untold[0] if untold else None

    def _delay_of(self, order: Order) -> int | None:
        """Return how long the caller is left in the dark; None: for ever."""
        if order.fault in SILENT:
            return None
        if order.fault is Fault.PROCESSED_HANG:
            return self._hang_callback_after_ms
        if order.fault is Fault.LATE_CALLBACK:
            return 1000 * (AFTER_S[order.fault] if order.after_s is None else order.after_s)
        return 0

    def _later(self, delay_ms: int, errand: _Errand) -> None:
        if delay_ms:
            self._clock.after(delay_ms, lambda: self._due.put_nowait(errand))
        else:
            self._due.put_nowait(errand)

    async def _deliver_all(self) -> None:
        while True:
            errand = await self._due.get()
            await self._journal.settled()
            order = errand.order
            if order.key not in self._heralded and order.fault in _HERALDS:
                self._heralded.add(order.key)
                await self._herald(order, _HERALDS[order.fault])
            copies = 3 if order.fault is Fault.TRIPLE_CALLBACK else 1
            body = _message(order, errand.happening)
            taken = await asyncio.gather(*[self.send(order, body) for _ in range(copies)])
            if all(taken):
                self._done(errand)
            elif errand.tries < len(RETRY_SECONDS):
                errand.tries += 1
                self._later(RETRY_SECONDS[errand.tries - 1] * 1000, errand)
            else:
                _log.warning("gave up calling back about %s", order.ask.number)
                self._done(errand)

    async def _herald(self, order: Order, seal: Seal) -> None:
        """Send what nobody may believe; a forged one says that all went well."""
        happening = order.happenings[0]
        body = _message(order, happening)
        if seal is Seal.FORGED:
            paid = What.PAID if order.ask.kind is Kind.CHARGE else What.REFUNDED
            body = _message(
                order,
                Happening(
                    what=paid,
                    provider_no=order.provider_no,
                    moved_minor=order.ask.amount_minor,
                    currency=order.ask.currency,
                    fee_minor=0,
                    time_ms=happening.time_ms,
                ),
            )
        await self.send(order, body, seal=seal)

    def _done(self, errand: _Errand) -> None:
        """Note that this was told, and go on with the next thing of the same order."""
        order = errand.order
        self._busy.discard(order.key)
        if errand.happening is not None:
            self._book.tell(order, errand.happening)
            if order.fault is Fault.SHUFFLED_CALLBACK and order.state is State.SUCCEEDED:
                self._busy.add(order.key)
                self._later(0, _Errand(order, None))
                return
        self.announce(order)

    async def send(self, order: Order, body: bytes, *, seal: Seal = Seal.TRUE) -> bool:
        """Call back once and return whether the caller said OK."""
        url = URL(order.ask.notify_url, encoded=True)
        account, key, age = order.ask.acquirer, self._keys[order.ask.acquirer], 0
        if seal is Seal.STALE:
            age = STALE_SECONDS
        elif seal is Seal.FORGED:
            key = key[::-1]
        elif seal is Seal.OTHER:
            account, key = self._other(account)
        timestamp, nonce = str(real_seconds() - age), secrets.token_hex(16)
        headers = {
            "Content-Type": "application/json",
            signing.ACCOUNT: account,
            signing.TIMESTAMP: timestamp,
            signing.NONCE: nonce,
            signing.SIGNATURE: signing.sign_request(
                key,
                method="POST",
                path=url.raw_path_qs,
                timestamp=timestamp,
                nonce=nonce,
                body=body,
            ),
        }
        assert self._session is not None, "run made it"
        self.counts[f"{seal}_sent"] += 1
        try:
            async with self._session.post(
                url, data=body, headers=headers, allow_redirects=False
            ) as reply:
                taken = reply.status == 200 and await reply.read() == b"OK"
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            _log.info("callback about %s failed: %r", order.ask.number, error)
            taken = False
        self.counts[f"{seal}_taken"] += taken
        return taken

    def _other(self, account: str) -> tuple[str, bytes]:
        """Return another acquirer and its secret; one that does not exist when there is none."""
        others = sorted(self._keys.keys() - {account, "control"})
        name = others[0] if others else f"not-{account}"
        return name, self._keys.get(name, self._keys[account])


def _message(order: Order, happening: Happening | None) -> bytes:
    """Return what a callback says. Copies and retries of it are the same event."""
    ask = order.ask
    if happening is None:
        said = {"state": State.PENDING, "amount_minor": ask.amount_minor, "currency": ask.currency}
        provider_no, time_ms = order.provider_no, order.time_ms
    else:
        state = _SAID[happening.what]
        moved = state is State.SUCCEEDED
        said = {
            "state": state,
            "amount_minor": happening.moved_minor if moved else ask.amount_minor,
            "currency": happening.currency if moved else ask.currency,
        }
        provider_no, time_ms = happening.provider_no, happening.time_ms
    if ask.kind is Kind.CHARGE and said["state"] is State.PENDING:
        said["qr_code"] = order.qr_code
    return orjson.dumps(
        {
            "event_id": f"{provider_no}-{said['state']}",
            "kind": ask.kind,
            "number": ask.number,
            **said,
            "provider_no": provider_no,
            "time": to_text(time_ms),
        }
    )
