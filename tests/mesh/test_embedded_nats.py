"""The embedded NATS: who may publish what, and what it survives."""

import asyncio
import json
import shutil
import signal
import socket
import stat

import nats as client
import pytest
from nats.js.errors import APIError

from mesh.embedded import Nats, StartError

SERVICES = ("payment", "ledger")


@pytest.fixture
async def server(tmp_path):
    """A running server of this test's own."""
    async with Nats(tmp_path, services=SERVICES) as running:
        yield running


@pytest.fixture
async def connect(server):
    """Return a function that connects as a user; `denials` collects what it was refused."""
    connections = []

    async def one(user, *, inbox=None, denials=None, **named):
        async def note(error):
            if denials is not None:
                denials.put_nowait(str(error))

        made = await client.connect(
            server.url(user),
            inbox_prefix=f"_INBOX.{inbox or user}".encode(),
            error_cb=note,
            **named,
        )
        connections.append(made)
        return made

    yield one
    for each in connections:
        await each.close()


async def make_stream(connection, service):
    await connection.jetstream().add_stream(
        name=f"tongbao_{service}", subjects=[f"tongbao.{service}.v1"]
    )


async def test_a_service_makes_its_stream_publishes_and_another_consumes(connect):
    """The whole way with nats-py: create, publish with ack, pull, ack, ask for the state."""
    payment = await connect("payment")
    await make_stream(payment, "payment")
    ack = await payment.jetstream().publish("tongbao.payment.v1", b"paid")
    assert ack.seq == 1

    ledger = await connect("ledger")
    pull = await ledger.jetstream().pull_subscribe(
        "tongbao.payment.v1", durable="ledger", stream="tongbao_payment"
    )
    [message] = await pull.fetch(1, timeout=5)
    assert message.data == b"paid"
    await message.ack_sync()
    info = await ledger.jetstream().consumer_info("tongbao_payment", "ledger")
    assert (info.num_pending, info.num_ack_pending) == (0, 0)
    assert (await ledger.jetstream().stream_info("tongbao_payment")).state.messages == 1


async def test_only_its_service_publishes_on_a_subject(connect):
    """Events of payment come from payment, whatever another service tries."""
    payment = await connect("payment")
    await make_stream(payment, "payment")
    denials = asyncio.Queue()
    ledger = await connect("ledger", denials=denials)
    await ledger.publish("tongbao.payment.v1", b"forged")
    async with asyncio.timeout(5):
        denial = await denials.get()
    assert "permissions violation for publish" in denial.lower()
    assert "tongbao.payment.v1" in denial
    assert (await payment.jetstream().stream_info("tongbao_payment")).state.messages == 0


@pytest.mark.parametrize(
    "subject",
    [
        "$JS.API.STREAM.DELETE.tongbao_payment",
        "$JS.API.STREAM.PURGE.tongbao_payment",
        "$JS.API.STREAM.MSG.DELETE.tongbao_payment",
        "$JS.API.STREAM.SNAPSHOT.tongbao_payment",
        "$JS.API.CONSUMER.DELETE.tongbao_payment.ledger",
        "$JS.API.STREAM.UPDATE.tongbao_payment",
        "$JS.API.STREAM.CREATE.mine",
        "_INBOX.payment.answer",
        "anything",
    ],
)
async def test_a_service_cannot_take_events_away_nor_answer_for_others(connect, subject):
    """What would lose events, and all that nobody needs."""
    denials = asyncio.Queue()
    ledger = await connect("ledger", denials=denials)
    await ledger.publish(subject, b"{}")
    async with asyncio.timeout(5):
        assert "permissions violation for publish" in (await denials.get()).lower()


@pytest.mark.parametrize("subject", ["_INBOX.payment.>", "tongbao.payment.v1", ">", "$SYS.>"])
async def test_a_service_cannot_listen_to_what_is_meant_for_others(connect, subject):
    """Not to answers, and to events only through a consumer that is acknowledged."""
    denials = asyncio.Queue()
    ledger = await connect("ledger", denials=denials)
    await ledger.subscribe(subject)
    async with asyncio.timeout(5):
        assert "permissions violation for subscription" in (await denials.get()).lower()


@pytest.mark.parametrize("login", [{}, {"user": "payment", "pass": "wrong"}, {"user": "payment"}])
async def test_nobody_enters_without_the_right_password(server, login):
    """Neither with a wrong one nor with none."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    assert (await reader.readline()).startswith(b"INFO")
    writer.write(f"CONNECT {json.dumps(login)}\r\nPING\r\n".encode())
    assert b"Authorization Violation" in await reader.read()
    writer.close()


async def test_the_operator_may_repair(connect):
    """Deleting a stream is a person's decision."""
    payment = await connect("payment")
    await make_stream(payment, "payment")
    operator = await connect("operator")
    assert await operator.jetstream().delete_stream("tongbao_payment")


async def test_acknowledged_events_survive_kill_9_and_restarts(server, connect):
    """The stream, its messages and its consumer's place; the port stays."""
    payment = await connect("payment")
    await make_stream(payment, "payment")
    port = server.port
    for number in range(50):
        await payment.jetstream().publish("tongbao.payment.v1", str(number).encode())
    await payment.close()
    await server.kill()
    await server.start()
    again = await connect("payment")
    info = await again.jetstream().stream_info("tongbao_payment")
    assert (info.state.messages, info.state.last_seq) == (50, 50)
    await again.close()
    await server.restart()
    third = await connect("ledger")
    pull = await third.jetstream().pull_subscribe(
        "tongbao.payment.v1", durable="ledger", stream="tongbao_payment"
    )
    assert len(await pull.fetch(50, timeout=5)) == 50
    with pytest.raises(client.errors.TimeoutError):
        await pull.fetch(1, timeout=0.2)
    assert server.port == port


async def test_every_write_is_synchronous(server):
    """Without this setting a power cut loses two minutes of acknowledged events."""
    config = (server.home / "nats" / "nats.conf").read_text()
    assert "sync_interval: always" in config
    reader, writer = await asyncio.open_connection("127.0.0.1", server._monitor)
    writer.write(b"GET /jsz HTTP/1.0\r\n\r\n")
    answer = await reader.read()
    writer.close()
    assert b'"sync_always": true' in answer


async def test_a_message_over_one_mebibyte_is_refused(connect):
    """A pack is at most half of that."""
    payment = await connect("payment")
    with pytest.raises(client.errors.MaxPayloadError):
        await payment.publish("tongbao.payment.v1", b"x" * (1024 * 1024 + 1))


async def test_a_store_that_is_gone_is_noticed_and_a_restart_serves_again(server, connect):
    """The server stays up without its files; only its health tells."""
    assert await server.healthy()
    shutil.rmtree(server.store)
    assert not await server.healthy()
    await server.restart()
    assert await server.healthy()
    payment = await connect("payment")
    with pytest.raises(APIError):
        await payment.jetstream().stream_info("tongbao_payment")
    await make_stream(payment, "payment")


async def test_a_stopped_server_is_not_healthy(server):
    """Nobody answers."""
    await server.stop()
    assert not await server.healthy()


async def test_a_taken_port_is_named_with_the_setting(tmp_path):
    """What, why, and what to do next."""
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        with pytest.raises(StartError) as caught:
            await Nats(tmp_path, services=SERVICES, port=port).start()
    assert f"127.0.0.1:{port}" in caught.value.what
    assert "TONGBAO_NATS_PORT" in caught.value.next_step


async def test_passwords_are_only_ours_to_read(server):
    """The configuration holds them all."""
    files = [server.home / "nats" / "nats.conf", *(server.home / "secrets").iterdir()]
    assert len(files) == 2 + len(SERVICES)
    for file in files:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


async def test_a_former_server_that_is_stopped_gives_way_before_the_next_one_starts(tmp_path):
    """Its supervisor was killed while it could not hear: two would write into one store.

    The next one has the port of the former, so whoever was told of it finds it there.
    """
    former = Nats(tmp_path, services=SERVICES)
    await former.start()
    former.send(signal.SIGSTOP)
    try:
        async with Nats(tmp_path, services=SERVICES) as running:
            assert former.process.returncode == -signal.SIGKILL
            assert running.port == former.port
    finally:
        await former.kill()
