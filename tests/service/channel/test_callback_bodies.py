"""The door for providers: bodies and connections that never come to an end."""

import asyncio
import json

import pytest

from channel import callbacks
from tests.service.channel.world import World, leg
from tests.waiting import eventually

HEAD = b"POST /callbacks/sim-a HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """The door waits for less than its usual time. It opens after this."""
    monkeypatch.setattr(callbacks, "_SECONDS", 1.5)
    monkeypatch.setattr(callbacks, "_IDLE_SECONDS", 0.5)


async def answer(world: World, request: bytes) -> bytes:
    """What the door says to the bytes of `request`, however incomplete, until it hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
    writer.write(request)
    try:
        async with asyncio.timeout(20):
            return await reader.read()
    finally:
        writer.close()


async def test_a_body_that_does_not_come_is_not_waited_for(world: World) -> None:
    """Otherwise anybody could hold as many connections as there are."""
    said = await answer(world, HEAD + b"Content-Length: 100\r\n\r\n{")

    assert said.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("started", [b"", b"POST /callbacks/sim-a HT"])
async def test_a_connection_without_a_request_is_closed(world: World, started: bytes) -> None:
    """Also one that has begun to say something."""
    assert await answer(world, started) == b""


async def test_a_body_that_cannot_be_unpacked_is_the_callers_mistake(world: World) -> None:
    """It says gzip and is none: not our error, and not a reason to come again."""
    packed = b"Content-Encoding: gzip\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"

    assert (await answer(world, HEAD + packed)).startswith(b"HTTP/1.1 400 ")


async def test_a_word_with_a_nul_in_it_is_unreadable(world: World) -> None:
    """No row could hold it: kept as it is, it would break every later look at the attempt."""
    await world.simulator.rule("lost_callback", op="charge")
    attempt = await world.attempted(leg())
    said = {
        "number": attempt.attempt_no,
        "kind": "charge",
        "state": "SUCCEEDED",
        "amount_minor": 1000,
        "currency": "CNY",
        "provider_no": "sim-a\0",
        "event_id": "e-1",
    }

    assert await world.post(json.dumps(said).encode(), account="sim-a", to="sim-a") == 400

    said["provider_no"] = "sim-a-1"
    assert await world.post(json.dumps(said).encode(), account="sim-a", to="sim-a") == 200
    await eventually(lambda: world.state(attempt.attempt_no) == "succeeded")
