"""Replies as they should be, and all the ways in which they can be spoilt."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import NoReturn

import orjson
from aiohttp import web

from sim import signing
from sim.clock import real_seconds
from sim.faults import Fault
from sim.requests import Answer

HUGE_BYTES = 2 * 1024 * 1024
DRIP_SECONDS = 1.0  # Between two bytes: no caller waits for the last one.

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: on, for no time.
_STALE_SECONDS = 2 * signing.WINDOW_SECONDS
_GATEWAY = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>\n"

_CODES = {
    Fault.PROCESSED_ERROR: Answer(500, {"code": "SYSTEM_ERROR"}),
    Fault.NEW_CODE: Answer(409, {"code": "ACCOUNT_IN_TRANSITION"}),
}


async def reply(
    request: web.BaseRequest, answer: Answer, *, key: bytes, fault: Fault
) -> web.StreamResponse:
    """Say `answer`, signed, unless `fault` spoils it."""
    match fault:
        case Fault.PROCESSED_RESET | Fault.HIDDEN:
            await reset(request)
        case Fault.BAD_GATEWAY:
            return web.Response(status=502, body=_GATEWAY, content_type="text/html")
        case Fault.REDIRECT:
            headers = {"Location": "http://127.0.0.1:9/elsewhere"}
            return web.Response(status=307, headers=headers)
    body = _body(_CODES.get(fault, answer), fault)
    status = _CODES.get(fault, answer).status
    response = web.Response(status=status, body=body, content_type="application/json")
    timestamp = real_seconds() - (_STALE_SECONDS if fault is Fault.STALE_REPLY else 0)
    nonce = request.headers[signing.NONCE]
    response.headers[signing.TIMESTAMP] = str(timestamp)
    response.headers[signing.NONCE] = nonce
    response.headers[signing.SIGNATURE] = signing.sign_reply(
        key[::-1] if fault is Fault.BAD_SIGNATURE else key,
        status=status,
        timestamp=str(timestamp),
        nonce=nonce,
        body=body,
    )
    return await _drip(request, response, body) if fault is Fault.DRIP else response


async def reset(request: web.BaseRequest) -> NoReturn:
    """Reset the connection and never return: the loss of it cancels us."""
    transport = request.transport
    if transport is not None:
        socket_ = transport.get_extra_info("socket")
        socket_.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        transport.abort()
    await asyncio.Event().wait()
    raise AssertionError("nobody sets it")


def _body(answer: Answer, fault: Fault) -> bytes:
    body = orjson.dumps(answer.content)
    if fault is Fault.MALFORMED:
        return body[: len(body) // 2]  # As a proxy cuts it, and the signature fits all the same.
    if fault is Fault.HUGE_BODY:
        return body + b" " * HUGE_BYTES
    return body


async def _drip(request: web.BaseRequest, whole: web.Response, body: bytes) -> web.StreamResponse:
    """Say `whole` byte by byte, so that every byte is on time and the last one never comes."""
    response = web.StreamResponse(status=whole.status, headers=whole.headers)
    response.content_length = len(body)
    await response.prepare(request)
    for place in range(len(body)):
        await response.write(body[place : place + 1])
        await asyncio.sleep(DRIP_SECONDS)
    await response.write_eof()
    return response
