"""What can happen to a connection on its way, over real sockets."""

import asyncio
import json
import socket
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.waiting import eventually
from torture.relay import DOWN, FAIR, UP, Link, Weather
from torture.wires import ProxyFailed, ProxyProcess, Wire, Wires


class Echo:
    """A server that answers every line by the same line, and remembers what it heard."""

    def __init__(self):
        self.heard, self.ended = [], asyncio.Event()

    async def serve(self, reader, writer):
        try:
            while line := await reader.readline():
                self.heard.append(line)
                writer.write(line)
                await writer.drain()
        except ConnectionError:
            pass
        self.ended.set()
        writer.close()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@asynccontextmanager
async def linked(tmp_path, kind="unix"):
    """Yield an echo behind a link, the link, and how to connect to it."""
    echo = Echo()
    target, own = str(tmp_path / "echo"), str(tmp_path / "link")
    server = await asyncio.start_unix_server(echo.serve, target)
    port = free_port()
    listen = f"unix:{own}" if kind == "unix" else f"127.0.0.1:{port}"
    link = Link("a>b", listen=listen, target=f"unix:{target}", seed="1")
    await link.open()

    async def connect():
        if kind == "unix":
            return await asyncio.open_unix_connection(own)
        return await asyncio.open_connection("127.0.0.1", port)

    try:
        yield echo, link, connect
    finally:
        await link.close()
        server.close()


async def said(reader, writer, line=b"hello\n"):
    """Send a line and return what comes back."""
    writer.write(line)
    await writer.drain()
    return await reader.readline()


@pytest.mark.parametrize("kind", ["unix", "tcp"])
async def test_in_fair_weather_everything_passes(tmp_path, kind):
    """Both ways, and the end too."""
    async with linked(tmp_path, kind) as (echo, _, connect):
        reader, writer = await connect()
        assert await said(reader, writer) == b"hello\n"
        writer.write_eof()
        assert await reader.read() == b""
        await echo.ended.wait()
        writer.close()


@pytest.mark.parametrize("way", [UP, DOWN])
async def test_what_is_held_on_one_way_arrives_when_it_is_let_go(tmp_path, way):
    """Nothing of a connection that goes on is lost; the other way is open meanwhile."""
    async with linked(tmp_path) as (echo, link, connect):
        reader, writer = await connect()
        await said(reader, writer)
        link.weather = Weather(held=(way,))
        writer.write(b"held\n")
        answer = asyncio.create_task(reader.readline())
        if way == DOWN:
            await eventually(lambda: len(echo.heard) == 2)
        else:
            for _ in range(50):
                await asyncio.sleep(0)
            assert len(echo.heard) == 1
        assert not answer.done()
        link.weather = FAIR
        assert await answer == b"held\n"
        writer.close()


async def test_a_connection_made_in_a_partition_stands_when_it_is_over(tmp_path):
    """The caller believes that it is connected, as after a lost packet."""
    async with linked(tmp_path) as (echo, link, connect):
        link.weather = Weather(held=(UP, DOWN))
        reader, writer = await connect()
        answer = asyncio.create_task(said(reader, writer))
        for _ in range(50):
            await asyncio.sleep(0)
        assert echo.heard == []
        link.weather = FAIR
        assert await answer == b"hello\n"
        writer.close()


async def test_a_reset_takes_what_is_there_and_what_comes(tmp_path):
    """Over TCP the caller sees a reset."""
    async with linked(tmp_path, "tcp") as (echo, link, connect):
        reader, writer = await connect()
        await said(reader, writer)
        link.weather = Weather(refusing=True)
        with pytest.raises(ConnectionResetError):
            await reader.readline()
        await echo.ended.wait()
        assert await was_cut(connect)
        writer.close()


async def was_cut(connect):
    """Return whether a new connection ends before anybody answers."""
    try:
        reader, writer = await connect()
        answer = await said(reader, writer)
    except ConnectionError:
        return True
    writer.close()
    return answer == b""


async def test_a_cut_answer_was_heard_and_never_arrives(tmp_path):
    """The unknown outcome: the server did it, the caller cannot know."""
    async with linked(tmp_path) as (echo, link, connect):
        link.weather = Weather(cut_ppm=1_000_000)
        reader, writer = await connect()
        assert await said(reader, writer) == b""
        assert (echo.heard, link.cuts) == ([b"hello\n"], 1)
        writer.close()


async def test_half_a_connection_can_be_over(tmp_path):
    """The server is told that nothing more comes, and may still answer."""
    async with linked(tmp_path) as (echo, link, connect):
        reader, writer = await connect()
        await said(reader, writer)
        assert link.half_close(UP) == 1
        await echo.ended.wait()
        assert await reader.read() == b""
        writer.close()


async def test_slow_weather_keeps_the_order(tmp_path):
    """Delay, jitter and a narrow way change when, never what."""
    async with linked(tmp_path) as (_, link, connect):
        link.weather = Weather(delay_ms=1, jitter_ms=3, bytes_a_second=100_000)
        reader, writer = await connect()
        for number in range(20):
            writer.write(b"%d\n" % number)
        got = [await reader.readline() for _ in range(20)]
        assert got == [b"%d\n" % number for number in range(20)]
        writer.close()


async def test_the_proxy_is_a_process_that_leaves_with_its_owner(tmp_path):
    """It carries, is told, refuses nonsense, and ends when its input does."""
    echo = Echo()
    server = await asyncio.start_unix_server(echo.serve, str(tmp_path / "echo"))
    proxy = ProxyProcess(tmp_path / "proxy.log")
    wire = Wire(name="a>b", listen=f"unix:{tmp_path}/link", target=f"unix:{tmp_path}/echo")
    try:
        await proxy.open(Wires([wire]), seed="1")
        await proxy.weather("a>b", Weather(cut_ppm=1_000_000))
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "link"))
        assert await said(reader, writer) == b""
        assert await proxy.ask(do="cuts", link="a>b") == {"cuts": 1}
        for nonsense in ({"do": "cuts", "link": "none"}, {"do": "dance"}):
            with pytest.raises(ProxyFailed):
                await proxy.ask(**nonsense)
        writer.close()
    finally:
        proxy.close()
        server.close()
    assert not Path(f"/proc/{proxy.pid}").exists()


async def test_whoever_loses_its_owner_leaves(tmp_path):
    """An owner that is killed cannot say so: the end of the pipe does."""
    program = (
        "import os, signal\nfrom pathlib import Path\nfrom torture.wires import ProxyProcess\n"
        f"print(ProxyProcess(Path({str(tmp_path / 'log')!r})).pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    owner = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE
    )
    pid = json.loads(await owner.stdout.readline())
    assert await owner.wait() < 0

    def is_gone():
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except FileNotFoundError:
            return True

    await eventually(is_gone)
