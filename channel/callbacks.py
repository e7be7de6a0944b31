"""The HTTP door through which providers call back: `POST /callbacks/<channel code>`.

One handler on a bare server: no router, no middleware, nothing between a provider and the
row that keeps what it said.
"""

from __future__ import annotations

import asyncio
import re

import structlog
from aiohttp import web

from channel.adapters.spi import BODY_BYTES_MAX, RawNotification
from channel.desk import Desk
from channel.flow.receive_callback import receive_callback
from mesh.batch import NotExecuted, Unknown
from mesh.clock import real_seconds
from mesh.context import within
from mesh.handover import shared_listener, take_no_more

_PATH = re.compile(r"/callbacks/([a-z0-9-]{2,32})(?:\?.*)?")
_SECONDS = 4  # Providers wait about five.
_IDLE_SECONDS = 60  # Of a connection without a request; the library's own is an hour.
_DRAIN_SECONDS = 3

log = structlog.get_logger()


async def listen(desk: Desk) -> None:
    """Answer callbacks until cancelled. Raises OSError when the port is taken."""

    async def answer(request: web.BaseRequest) -> web.Response:
        response = await _answer(desk, request)
        if desk.crew.is_relieved:
            response.force_close()  # The next callback finds who has taken our place.
        return response

    server = web.Server(answer, access_log=None, keepalive_timeout=_IDLE_SECONDS)
    runner = web.ServerRunner(server, shutdown_timeout=_DRAIN_SECONDS)
    listener = shared_listener(desk.host, desk.port)
    await runner.setup()
    try:
        await web.SockSite(runner, listener).start()
        log.info("listening", host=desk.host, port=desk.port)
        await asyncio.Event().wait()
    finally:
        await take_no_more(listener)
        await runner.cleanup()


async def _answer(desk: Desk, request: web.BaseRequest) -> web.Response:
    """Return 404 and 405 for what is no callback, 503 for our own trouble.

    A body must come whole and in time: 413 for too much, 408 for too slow, 400 for broken.
    """
    match = _PATH.fullmatch(request.raw_path)
    if match is None:
        return web.Response(status=404)
    if request.method != "POST":
        return web.Response(status=405)
    try:
        async with asyncio.timeout(_SECONDS):
            body = await request.read()
    except TimeoutError:
        return web.Response(status=408)
    except (web.RequestPayloadError, ConnectionError):
        return web.Response(status=400)
    if len(body) > BODY_BYTES_MAX:
        return web.Response(status=413)
    raw = RawNotification(
        path=request.raw_path,
        headers={name.lower(): value for name, value in request.headers.items()},
        body=body,
        received_at=real_seconds(),
    )
    try:
        with within(_SECONDS):
            said = await receive_callback(desk, match[1], raw)
    except (NotExecuted, Unknown) as error:
        log.warning("callback_not_kept", channel_code=match[1], problem=str(error))
        return web.Response(status=503)
    return web.Response(status=said.status, body=said.body)
