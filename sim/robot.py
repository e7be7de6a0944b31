"""The payer, who pays every code, and the messenger, who tells the caller about it."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp
import orjson
from yarl import URL

from sim import signing
from sim.book import Book, Order, State
from sim.clock import now_seconds, to_text
from sim.faults import Fault
from sim.journal import Journal

RETRY_SECONDS = (1, 2, 5, 10, 30, 60)
CALLBACKS_MAX = 64
CALLBACK_TIMEOUT_SECONDS = 5

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """How the robot behaves. None: the callback of a hung request never comes."""

    pay_delay_ms: int = 20
    hang_callback_after_ms: int | None = None


class Robot:
    """Settles PENDING orders after a while and calls back until the caller says OK.

    What it does is in the book, so a new robot over the same book takes up where this one
    was stopped or killed. Callbacks may therefore come more than once.
    """

    def __init__(
        self, book: Book, *, journal: Journal, keys: Mapping[str, bytes], habits: Habits
    ) -> None:
        """`keys` has the secret of every acquirer."""
        self._book, self._journal, self._keys, self._habits = book, journal, keys, habits
        self._due: asyncio.Queue[tuple[Order, int]] = asyncio.Queue()

    def expect(self, order: Order) -> None:
        """Settle `order` after the payer's delay."""
        self._later(self._habits.pay_delay_ms, order)

    async def run(self) -> None:
        """Take up what the book left open, then call back until cancelled."""
        for order in self._book.orders():
            if order.state is State.PENDING:
                self.expect(order)
            elif not order.is_told:
                self._announce(order)
        timeout = aiohttp.ClientTimeout(total=CALLBACK_TIMEOUT_SECONDS)
        connector = aiohttp.TCPConnector(limit=CALLBACKS_MAX)
        async with (
            aiohttp.ClientSession(
                connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()
            ) as session,
            asyncio.TaskGroup() as messengers,
        ):
            for _ in range(CALLBACKS_MAX):
                messengers.create_task(self._deliver_all(session))

    def _later(self, delay_ms: int, order: Order) -> None:
        asyncio.get_running_loop().call_later(delay_ms / 1000, self._settle, order)

    def _settle(self, order: Order) -> None:
        if order.state is not State.PENDING:
            return  # Closed before the payer came.
        if order.fault is Fault.REFUSED_LATER:
            self._book.settle(order, state=State.FAILED)
        else:
            extra = 1 if order.fault is Fault.WRONG_AMOUNT else 0
            moved = order.ask.amount_minor + extra
            self._book.settle(order, state=State.SUCCEEDED, moved_minor=moved)
        self._announce(order)

    def _announce(self, order: Order) -> None:
        """Have the caller told, unless the order's fault is that nobody tells."""
        if order.state is State.CLOSED or order.fault is Fault.LOST_CALLBACK:
            return
        delay_ms = 0
        if order.fault is Fault.PROCESSED_HANG:
            if self._habits.hang_callback_after_ms is None:
                return
            delay_ms = self._habits.hang_callback_after_ms
        self._tell_later(delay_ms, order, 0)

    def _tell_later(self, delay_ms: int, order: Order, tries: int) -> None:
        if delay_ms:
            loop = asyncio.get_running_loop()
            loop.call_later(delay_ms / 1000, self._due.put_nowait, (order, tries))
        else:
            self._due.put_nowait((order, tries))

    async def _deliver_all(self, session: aiohttp.ClientSession) -> None:
        while True:
            order, tries = await self._due.get()
            await self._journal.settled()
            copies = 3 if order.fault is Fault.TRIPLE_CALLBACK else 1
            taken = await asyncio.gather(*[self._deliver(session, order) for _ in range(copies)])
            if all(taken):
                self._book.tell(order)
            elif tries < len(RETRY_SECONDS):
                self._tell_later(RETRY_SECONDS[tries] * 1000, order, tries + 1)
            else:
                _log.warning("gave up calling back about %s", order.ask.number)
                self._book.tell(order)

    async def _deliver(self, session: aiohttp.ClientSession, order: Order) -> bool:
        """Call back once and return whether the caller said OK."""
        url = URL(order.ask.notify_url, encoded=True)
        body = _message(order)
        timestamp, nonce = str(now_seconds()), secrets.token_hex(16)
        signature = signing.sign_request(
            self._keys[order.ask.acquirer],
            method="POST",
            path=url.raw_path_qs,
            timestamp=timestamp,
            nonce=nonce,
            body=body,
        )
        headers = {
            "Content-Type": "application/json",
            signing.ACCOUNT: order.ask.acquirer,
            signing.TIMESTAMP: timestamp,
            signing.NONCE: nonce,
            signing.SIGNATURE: signature,
        }
        try:
            async with session.post(
                url, data=body, headers=headers, allow_redirects=False
            ) as reply:
                return reply.status == 200 and await reply.read() == b"OK"
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            _log.info("callback about %s failed: %r", order.ask.number, error)
            return False


def _message(order: Order) -> bytes:
    """Return what a callback says. Copies and retries of it are the same event."""
    return orjson.dumps(
        {
            "event_id": f"{order.provider_no}-{order.state}",
            "kind": order.ask.kind,
            "number": order.ask.number,
            "state": order.state,
            "amount_minor": order.reported_minor,
            "currency": order.ask.currency,
            "provider_no": order.provider_no,
            "time": to_text(order.time_ms),
        }
    )
