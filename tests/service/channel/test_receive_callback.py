"""The door for providers: what is believed, what is kept, what is answered."""

import asyncio
import json
import socket
from io import BytesIO
from typing import Any

import psycopg
import pytest

from channel.adapters.spi import BODY_BYTES_MAX
from tests.service.channel.world import World, leg, refund_of
from tests.waiting import eventually
from tongbao.channel.v1 import attempt_pb2


@pytest.fixture
async def attempt(world: World) -> attempt_pb2.Attempt:
    """An attempt at sim-a whose callback will not come by itself."""
    await world.simulator.rule("lost_callback", op="charge")
    return await world.attempted(leg())


def kept(world: World) -> list[tuple[Any, ...]]:
    return world.handle.rows(
        "SELECT channel_code, attempt_no, verdict, body, headers FROM callback"
    )


async def test_a_callback_is_kept_as_it_came(world: World, attempt: attempt_pb2.Attempt) -> None:
    """To the byte, with its headers; those that hold credentials are left out."""
    said = {
        "number": attempt.attempt_no,
        "kind": "charge",
        "state": "SUCCEEDED",
        "amount_minor": 1000,
        "currency": "CNY",
        "provider_no": "sim-a-1",
        "event_id": "e-1",
    }
    body = json.dumps(said, indent=3).encode()
    path = "/callbacks/sim-a"
    headers = world.signed(path, body, account="sim-a") | {
        "Authorization": "Basic c2VjcmV0",
        "Cookie": "a=b",
        "X-Odd": "caf\udce9",  # On the wire a byte that is no UTF-8.
        "Content-Length": str(len(body)),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    request = f"POST {path} HTTP/1.0\r\n{head}\r\n".encode("utf-8", "surrogateescape") + body

    reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
    writer.write(request)
    reply = await reader.read()
    writer.close()

    assert reply.startswith(b"HTTP/1.0 200 ")
    assert reply.endswith(b"\r\n\r\nOK")
    [(channel_code, attempt_no, verdict, raw, headers)] = kept(world)
    assert (channel_code, attempt_no, verdict) == ("sim-a", attempt.attempt_no, "succeeded")
    assert bytes(raw) == body
    assert headers["sim-account"] == "sim-a"
    assert headers["x-odd"] == "caf?"
    assert not {"authorization", "cookie"} & headers.keys()
    await world.until(attempt.attempt_no, "succeeded")


async def test_what_is_not_theirs_is_refused_and_not_kept(
    world: World, attempt: attempt_pb2.Attempt
) -> None:
    """In the order of precedence; nothing is applied either."""
    paid, _ = await world.paid()
    before = kept(world)
    body = json.dumps({"number": attempt.attempt_no}).encode()
    forged = "f" * 32
    a, b = {"account": "sim-a"}, {"account": "sim-b"}

    assert await world.say(attempt, **a, to="nobody") == 404
    assert await world.say(attempt, **a, to="balance") == 404
    assert await world.say(attempt, **a, to="sim-b") == 404  # Not its name there.
    assert await world.post(b"{", **a, to="sim-a") == 400
    assert await world.post(body, **a, to="sim-a", secret=forged) == 401
    assert await world.post(body, **a, to="sim-a") == 400  # Signed, but it says nothing.
    assert await world.say(attempt, **a, kind="loan") == 400
    assert await world.say(attempt, **a, number="20261122AT9999999999999999") == 404
    assert await world.say(attempt, **a, number="nul\0'; --") == 404
    assert await world.say(attempt, **b) == 404  # It was never given to sim-b.
    assert await world.say(attempt, **a, kind="refund") == 404  # It is a charge.
    refund = await world.attempted(refund_of(paid))
    await world.until(refund.attempt_no, "succeeded")

    assert [row for row in kept(world) if row[1] == attempt.attempt_no] == []
    assert len(kept(world)) == len(before) + 1  # The refund's own.
    assert world.state(attempt.attempt_no) == "processing"


async def test_a_forged_success_moves_nothing(world: World, attempt: attempt_pb2.Attempt) -> None:
    """Everything right but the secret."""
    body = json.dumps(
        {
            "number": attempt.attempt_no,
            "kind": "charge",
            "state": "SUCCEEDED",
            "amount_minor": 1000,
            "currency": "CNY",
            "provider_no": "p",
            "event_id": "e",
        }
    ).encode()

    status = await world.post(body, account="sim-a", to="sim-a", secret="not the secret at all")

    await world.settled()
    assert (status, world.state(attempt.attempt_no), kept(world)) == (401, "processing", [])


async def test_what_is_no_callback_is_turned_away(world: World) -> None:
    """Other paths, other methods, and more than a mebibyte."""
    base = f"http://127.0.0.1:{world.port}"
    asked = [
        world.http.get(f"{base}/callbacks/sim-a"),
        world.http.post(f"{base}/"),
        world.http.post(f"{base}/callbacks/"),
        world.http.post(f"{base}/callbacks/sim-a/more"),
        world.http.post(f"{base}/callbacks/SIM%2DA"),
        world.http.post(f"{base}/callbacks/sim-a", data=BytesIO(b"x" * (BODY_BYTES_MAX + 1))),
    ]
    statuses = []
    for call in asked:
        async with call as reply:
            statuses.append(reply.status)

    assert statuses == [405, 404, 404, 404, 404, 413]


async def test_the_acknowledgement_comes_after_the_row(
    world: World, attempt: attempt_pb2.Attempt
) -> None:
    """While the row cannot be written the provider is not told that we have it."""
    with psycopg.connect(world.handle.dsn) as third:
        third.execute("LOCK TABLE callback IN EXCLUSIVE MODE")
        said = asyncio.create_task(world.say(attempt))
        await eventually(lambda: world.waiting_for_locks() == 1)
        assert not said.done()
        third.rollback()

    assert await said == 200
    assert len(kept(world)) == 1


async def test_a_row_that_cannot_be_written_in_time_is_not_acknowledged(
    world: World, attempt: attempt_pb2.Attempt
) -> None:
    """The provider is asked to say it again, and that does no harm."""
    world.handle.rows("ALTER TABLE callback RENAME TO elsewhere")

    assert await world.say(attempt) == 503

    world.handle.rows("ALTER TABLE elsewhere RENAME TO callback")
    assert await world.say(attempt) == 200
    await world.until(attempt.attempt_no, "succeeded")


async def test_the_door_is_on_the_public_host_alone(world: World) -> None:
    """Bound to 127.0.0.1 unless told otherwise."""
    addresses = socket.getaddrinfo(socket.gethostname(), world.port, type=socket.SOCK_STREAM)
    others = {address[4][0] for address in addresses} - {"127.0.0.1", "::1"}
    for host in others:
        with socket.socket() as probe:
            assert probe.connect_ex((host, world.port)) != 0, host
