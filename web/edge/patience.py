"""What a stranger may make us hold: a connection for as long as a request needs to arrive.

uvicorn waits for a request for ever, and lets nobody in any more when `limit_concurrency`
connections are open. So without this a few thousand sockets that say nothing shut the edge.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

ARRIVAL_SECONDS = 20.0  # From the connection, or the first byte, to the last one of a request.

_ON_THE_WAY: Final = (h11.IDLE, h11.SEND_BODY)


class PatientProtocol(H11Protocol):
    """HTTP/1.1 that cuts off whoever takes longer than ARRIVAL_SECONDS to send a request.

    How long the answer takes is not its business, nor a connection between two requests, which
    is kept by `timeout_keep_alive`.
    """

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Read on; wait for the rest of a request until it is whole."""
        super().data_received(data)
        if self.conn.their_state in _ON_THE_WAY:
            self._wait()
        else:
            self._rest()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._rest()
        super().connection_lost(exc)

    def _wait(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(ARRIVAL_SECONDS, self._cut_off)

    def _rest(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _cut_off(self) -> None:
        transport: Any = self.transport
        transport.abort()  # A close would wait for whoever reads nothing, too.
