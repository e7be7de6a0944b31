"""Providers that behave badly on a real socket, one connection at a time."""

import asyncio
import hashlib
import hmac
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from channel.adapters.spi import Account

ACCOUNT = Account(
    channel_code="sim-a",
    base_url="http://127.0.0.1:1",
    provider_account="sim-a",
    secret="correct horse battery",
    cost_ppm=0,
)
Speak = Callable[["Provider", bytes, asyncio.StreamWriter], Awaitable[None]]


class Provider:
    """Reads each request whole, counts it, and lets `speak` do with the connection what it will.

    A `speak` that returns leaves the connection open for the next request.
    """

    def __init__(self, speak: Speak) -> None:
        self.speak = speak
        self.requests = 0
        self.writers: list[asyncio.StreamWriter] = []

    @property
    def account(self) -> Account:
        return replace(ACCOUNT, base_url=f"http://127.0.0.1:{self.port}")

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                length = [
                    int(line.split(b":")[1])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length:")
                ]
                await reader.readexactly(sum(length))
                self.requests += 1
                await self.speak(self, head, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # The client left, which some of them are made to.


@asynccontextmanager
async def provider(speak: Speak):
    """A provider on a port of its own."""
    one = Provider(speak)
    server = await asyncio.start_server(one.serve, "127.0.0.1", 0)
    one.port = server.sockets[0].getsockname()[1]
    try:
        yield one
    finally:
        server.close()
        for writer in one.writers:
            writer.transport.abort()


def http(status: int, body: bytes, *headers: str, length: int | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", *headers]
    lines.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def signed(head: bytes, body: bytes, *, secret: str = ACCOUNT.secret, status: int = 200) -> bytes:
    """A reply to the request with this head, signed as the simulator would."""
    [nonce] = [
        line.split(b":")[1].strip().decode()
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"sim-nonce:")
    ]
    timestamp = str(int(time.time()))
    message = f"{status}\n{timestamp}\n{nonce}\n".encode() + body
    signature = hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()
    return http(status, body, f"Sim-Timestamp: {timestamp}", f"Sim-Signature: {signature}")


def reset(writer: asyncio.StreamWriter) -> None:
    """Cut the connection with a reset."""
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
