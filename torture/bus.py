"""What is still on its way in NATS, from its own monitoring port."""

from __future__ import annotations

import aiohttp

_ASK = {"consumers": "true"}


class Bus:
    """The monitoring port of a running NATS."""

    def __init__(self, port: int, *, session: aiohttp.ClientSession) -> None:
        self._url, self._session = f"http://127.0.0.1:{port}/jsz", session

    async def on_its_way(self) -> int | None:
        """Return how many messages wait for a consumer or for its word; None: no answer."""
        try:
            async with self._session.get(self._url, params=_ASK, raise_for_status=True) as reply:
                told = await reply.json()
        except (aiohttp.ClientError, TimeoutError):
            return None
        return sum(
            int(consumer["num_pending"] + consumer["num_ack_pending"])
            for account in told.get("account_details", ())
            for stream in account.get("stream_detail", ())
            for consumer in stream.get("consumer_detail", ())
        )
