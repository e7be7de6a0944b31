"""Who takes for ever to send a request is cut off; who sends one is answered, as slow as it is."""

import asyncio

import pytest
import uvicorn

from tests.waiting import eventually
from web.edge import patience
from web.edge.__main__ import _front

WHOLE = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
HALF = b"POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n"


async def _ask(scope, receive, send):
    """Stand behind the front: wait for the whole body, and tell which headers came."""
    while (await receive()).get("more_body"):
        pass
    body = b" ".join(name for name, _ in scope["headers"])
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


async def _spoken(connect, first, *, drip=b""):
    """Return what comes back until the other side hangs up, sending `drip` meanwhile."""
    reader, writer = await connect()
    writer.write(first)

    def dripped():
        writer.write(drip)
        return writer.is_closing()

    trickling = asyncio.create_task(eventually(dripped))
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        trickling.cancel()
        writer.transport.abort()


@pytest.fixture
def served(monkeypatch, run):
    """Return a function that runs a test against the front, with little patience."""
    monkeypatch.setattr(patience, "ARRIVAL_SECONDS", 0.3)

    def go(check):
        async def main():
            config = uvicorn.Config(
                _front(_ask),
                host="127.0.0.1",
                port=0,
                http=patience.PatientProtocol,
                lifespan="off",
                log_level="error",
                timeout_keep_alive=1,
            )
            server = uvicorn.Server(config)
            serving = asyncio.create_task(server._serve())
            await eventually(lambda: server.started)
            [socket] = server.servers[0].sockets
            try:
                async with asyncio.timeout(20):
                    return await check(lambda: asyncio.open_connection(*socket.getsockname()))
            finally:
                server.should_exit = True
                await serving

        return run(main())

    return go


@pytest.mark.parametrize(
    ("first", "drip"),
    [
        (b"", b""),
        (WHOLE[:20], b""),
        (WHOLE[:-2], b"a: b\r\n"),
        (HALF, b""),
        (HALF.replace(b"9", b"9999"), b" "),
        (WHOLE + WHOLE[:20], b""),
    ],
)
def test_a_request_that_does_not_arrive_is_cut_off(served, first, drip):
    """Nothing, half a head, a head or a body by drops, half of a second request."""
    said = served(lambda connect: _spoken(connect, first, drip=drip))
    assert said.count(b"200 OK") == first.count(b"\r\n\r\n") - first.count(b"content-length")


def test_a_connection_is_kept_between_requests(served):
    """Its age is no reason to cut it: only a request that is on its way is awaited."""

    async def check(connect):
        reader, writer = await connect()
        answers, now = [], asyncio.get_running_loop().time
        for _ in range(3):
            writer.write(WHOLE)
            answers.append(await reader.readuntil(b"}\n"))
            enough = now() + 0.5  # Longer than a request may take.
            await eventually(lambda since=enough: now() > since)
        writer.close()
        return answers

    assert all(b"200 OK" in one for one in served(check))


def test_a_header_that_grpc_cannot_carry_ends_at_the_front(served):
    """It is as if it had not been sent; the others go on."""
    head = b"GET /x HTTP/1.1\r\nhost: x\r\ntraceparent: \xc3\xa4\r\nauthorization: \xff\r\n"
    head += b"accept-language: zh\r\nconnection: close\r\n\r\n"
    said = served(lambda connect: _spoken(connect, head))
    assert b"\r\nhost accept-language connection\r\n" in said
