"""The way out: what is reached, what is refused, what is never followed; over real HTTP."""

from __future__ import annotations

import asyncio
import socket

import pytest

from tests.service.trade.receiver import Receiver
from tests.simulator import free_port
from trade import egress
from trade.egress import Egress

HEADERS = {"webhook-id": "1"}


async def send(url: str, *, allow_private: bool) -> tuple[int, str]:
    async with Egress(allow_private=allow_private) as way_out:
        sent = await way_out.post(url, body=b"{}", headers=HEADERS)
    return sent.status, sent.problem


async def test_a_private_receiver_is_reached_where_that_is_allowed(receiver: Receiver):
    """By address and by name; body and headers arrive as they were given."""
    local = receiver.url.replace("127.0.0.1", "localhost")
    for url in (receiver.url, local):
        assert await send(url, allow_private=True) == (200, "")
    assert [(one.body, one.id) for one in receiver.came] == [(b"{}", "1")] * 2


async def test_a_private_receiver_is_not_reached_where_it_is_not(receiver: Receiver):
    """By address, by name, and by the ways to write an address that is none at first sight."""
    port = receiver.url.rpartition(":")[2].partition("/")[0]
    for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "[::1]", "[64:ff9b::7f00:1]"):
        status, problem = await send(f"http://{host}:{port}/", allow_private=False)
        assert status == 0
        assert "its address is not public" in problem, (host, problem)
    for host in ("2130706433", "0x7f.1", "127.1"):
        status, problem = await send(f"http://{host}:{port}/", allow_private=False)
        assert status == 0
        assert problem, host
    assert receiver.came == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 400, 404, 500, 503])
async def test_anything_but_2xx_is_a_problem_and_no_redirect_is_followed(
    receiver: Receiver, status: int
):
    """One request, the receiver's status, a problem."""
    receiver.then(status)
    assert await send(receiver.url, allow_private=True) == (status, "it did not answer 2xx")
    assert len(receiver.came) == 1


async def test_a_receiver_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch):
    """It takes the connection and says nothing; the try ends by itself."""
    monkeypatch.setattr(egress, "SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        async with asyncio.timeout(5):
            status, problem = await send(url, allow_private=True)
    assert status == 0
    assert "Timeout" in problem


async def test_what_cannot_be_reached_is_a_problem_and_no_error():
    """Nobody listens; no such name; no such scheme; not a URL."""
    for url in (
        f"http://127.0.0.1:{free_port()}/",
        "http://no-such-host.invalid/",
        "ftp://127.0.0.1/",
        "http://[",
    ):
        status, problem = await send(url, allow_private=True)
        assert status == 0
        assert problem, url
