"""Two processes on one port and one path: new callers find the newer, the older loses none."""

import asyncio
import socket
import sys
from contextlib import suppress

import pytest
from aiohttp import web

from mesh.handover import (
    leads_to,
    leave_path,
    own_path,
    prepare_path,
    shared_listener,
    take_no_more,
    take_path,
)

CALLERS = 40
only_linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux steers connections")


def called(port, times=CALLERS):
    """Connect so often, and keep the connections."""
    return [socket.create_connection(("127.0.0.1", port)) for _ in range(times)]


def taken(listener):
    """Return how many connections wait at `listener`, and take them."""
    found = []
    with suppress(BlockingIOError):
        while True:
            found.append(listener.accept()[0])
    for one in found:
        one.close()
    return len(found)


@only_linux
def test_new_callers_reach_the_listener_that_opened_last():
    """From the moment it listens, also when the one before has left and a third one comes."""
    first = shared_listener("127.0.0.1", 0)
    port = first.getsockname()[1]
    waiting = called(port)
    second = shared_listener("127.0.0.1", port)
    waiting += called(port)
    assert (taken(first), taken(second)) == (CALLERS, CALLERS)
    first.close()
    waiting += called(port)
    third = shared_listener("127.0.0.1", port)
    waiting += called(port)
    assert (taken(second), taken(third)) == (CALLERS, CALLERS)
    for one in (*waiting, second, third):
        one.close()


def test_a_port_of_a_stranger_is_not_shared():
    """Whoever did not offer to share keeps it."""
    with socket.create_server(("127.0.0.1", 0)) as stranger, pytest.raises(OSError, match="in use"):
        shared_listener("127.0.0.1", stranger.getsockname()[1])


def test_a_path_leads_to_the_last_who_took_it(tmp_path):
    """There is no moment at which it leads nowhere, and leaving takes only one's own away."""
    path = tmp_path / "trade.sock"
    old, new = own_path(path, 1), own_path(path, 2)
    with listening(old), listening(new):
        take_path(old, path)
        assert leads_to(path, old)
        take_path(new, path)
        assert leads_to(path, new)
        leave_path(old, path)
        assert not old.exists()
        assert leads_to(path, new)
        leave_path(new, path)
        assert not path.exists()


def test_sockets_of_dead_processes_are_forgotten(tmp_path):
    """And those of the living are not, nor what only looks like one."""
    path = tmp_path / "trade.sock"
    dead, alive = own_path(path, 2**22 + 1), own_path(path, 1)
    for one in (dead, alive, tmp_path / "trade-x.sock"):
        one.touch()
    own = prepare_path(path)
    assert not dead.exists()
    assert alive.exists()
    assert (tmp_path / "trade-x.sock").exists()
    assert not own.exists()


def listening(path):
    """A unix socket that listens at `path`."""
    opened = socket.socket(socket.AF_UNIX)
    opened.bind(str(path))
    opened.listen()
    return opened


async def answer(_request):
    return web.Response(text="here")


def read_all(caller):
    """Return the body of the answer, if any, once the connection has ended."""
    got = b""
    try:
        while more := caller.recv(4096):
            got += more
    except ConnectionResetError:  # It was never taken in.
        return b""
    return got.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize("turns", range(6))
async def test_what_was_taken_in_at_the_last_moment_has_an_end(turns):
    """However far the loop was with a connection: its caller reads an answer or nothing, and then
    the end."""
    runner = web.ServerRunner(web.Server(answer, access_log=None), shutdown_timeout=1)
    listener = shared_listener("127.0.0.1", 0)
    await runner.setup()
    await web.SockSite(runner, listener).start()

    with socket.create_connection(listener.getsockname(), timeout=5) as caller:
        caller.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        for _ in range(turns):
            await asyncio.sleep(0)
        await take_no_more(listener)
        await runner.cleanup()
        assert await asyncio.to_thread(read_all, caller) in (b"", b"here")
