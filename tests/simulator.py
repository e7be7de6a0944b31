"""The provider simulator as a child process, a client of it and a target for its callbacks.

The client signs with code of its own, so it also checks that the protocol is what
`sim/README.md` says. `async with start_simulator(folder) as simulator` is all a test needs.
"""

import asyncio
import gzip
import hashlib
import hmac
import itertools
import json
import random
import secrets
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path

import aiohttp
from aiohttp import web

ROOT = Path(__file__).resolve().parents[1]
WAIT_SECONDS = 20


def free_port() -> int:
    """A port nobody listens on, below the range from which outgoing connections take theirs."""
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port")


def sign(secret: str, *head: object, body: bytes) -> str:
    message = "".join(f"{line}\n" for line in head).encode() + body
    return hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()


class Simulator:
    """A running simulator: its ports and secrets, its API, its control port."""

    def __init__(self, folder: Path, acquirers: tuple[str, ...], options: dict[str, object]):
        self.folder, self.options = folder, options
        self.ports = {name: free_port() for name in acquirers}
        self.control_port = free_port()
        self.secrets = {name: secrets.token_hex(16) for name in (*acquirers, "control")}
        self.journal = folder / "journal.ndjson"
        self.process: asyncio.subprocess.Process | None = None
        self.session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=WAIT_SECONDS))

    def base_url(self, acquirer: str = "sim-a") -> str:
        return f"http://127.0.0.1:{self.ports[acquirer]}"

    async def start(self) -> None:
        path = self.folder / "secrets.json"
        path.touch(0o600)
        path.write_text(json.dumps(self.secrets))
        options = {"journal": self.journal, "control-port": self.control_port, "secrets": path}
        arguments = [f"--acquirer={name}={port}" for name, port in self.ports.items()]
        arguments += [f"--{name}={value}" for name, value in (options | self.options).items()]
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "sim", *arguments, cwd=ROOT, stdout=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(WAIT_SECONDS):
            ready = json.loads(await self.process.stdout.readline())
        assert ready["acquirers"] == self.ports, ready

    async def stop(self, number: int = signal.SIGTERM) -> int:
        """End it, gently unless told otherwise, and return the exit code."""
        if self.process.returncode is None:
            self.process.send_signal(number)
        async with asyncio.timeout(WAIT_SECONDS):
            await self.process.communicate()
        return self.process.returncode

    async def restart(self, number: int = signal.SIGKILL) -> None:
        await self.stop(number)
        await self.start()

    async def call(self, method, path, content=None, *, acquirer="sim-a", **wrong):
        """Return (status, content) of a signed call. `wrong` overrides parts of the signature."""
        body = b"" if content is None else json.dumps(content).encode()
        said = {"account": acquirer, "timestamp": int(time.time()), "nonce": secrets.token_hex(8)}
        said |= {"secret": self.secrets[acquirer]} | wrong
        headers = {
            "Sim-Account": said["account"],
            "Sim-Timestamp": str(said["timestamp"]),
            "Sim-Nonce": said["nonce"],
            "Sim-Signature": sign(
                said["secret"], method, path, said["timestamp"], said["nonce"], body=body
            ),
        }
        async with self.session.request(
            method,
            self.base_url(acquirer) + path,
            data=body,
            headers=headers,
        ) as reply:
            answer = await reply.read()
            if reply.status != 401:
                timestamp = reply.headers["Sim-Timestamp"]
                expected = sign(said["secret"], reply.status, timestamp, said["nonce"], body=answer)
                assert reply.headers["Sim-Signature"] == expected, "bad reply signature"
            return reply.status, json.loads(answer)

    async def control(self, verb: str, content: object = None, *, expect: int = 200) -> str:
        url = f"http://127.0.0.1:{self.control_port}/_ctl/{verb}"
        headers = {"Authorization": f"Bearer {self.secrets['control']}"}
        method = "GET" if content is None else "POST"
        async with self.session.request(method, url, json=content, headers=headers) as reply:
            text = await reply.text()
            assert reply.status == expect, text
            return text

    async def truth(self) -> list[dict]:
        return await self.told("truth")

    async def outage(self, acquirer: str = "sim-a", *, on: bool) -> None:
        await self.control("outage", {"acquirer": acquirer, "on": on})

    async def hang(self, acquirer: str = "sim-a", *, on: bool) -> None:
        await self.control("hang", {"acquirer": acquirer, "on": on})

    async def rule(
        self,
        fault: str,
        *,
        times: int | None = 1,
        after_s: int | None = None,
        acquirer: str = "sim-a",
        **match,
    ) -> None:
        then = {"fault": fault, "times": times, "after_s": after_s}
        await self.control("rules", {"match": {"acquirer": acquirer, **match}, "then": then})

    async def told(self, verb: str) -> list[dict]:
        return [json.loads(line) for line in (await self.control(verb)).splitlines()]

    async def now(self) -> datetime:
        """Virtual time."""
        [clock] = await self.told("clock")
        return datetime.fromisoformat(clock["now"])

    async def advance(self, **by: int) -> None:
        """Move virtual time forward, e.g. by `hours=36`."""
        [clock] = await self.told("clock")
        seconds = clock["shift_seconds"] + int(timedelta(**by).total_seconds())
        await self.control("clock", {"shift_seconds": seconds})

    async def bill(self, day: object, *, acquirer: str = "sim-a") -> bytes:
        """The bill of a day, unpacked and compared with what was said of it."""
        status, said = await self.call("GET", f"/v1/bills/{day}", acquirer=acquirer)
        assert status == 200, said
        async with self.session.get(self.base_url(acquirer) + said["url"]) as reply:
            assert reply.status == 200, await reply.text()
            content = gzip.decompress(await reply.read())
        assert hashlib.sha256(content).hexdigest() == said["hash_value"]
        assert (said["bill_date"], said["size"]) == (str(day), len(content))
        return content


@asynccontextmanager
async def start_simulator(
    folder: Path, *, acquirers: tuple[str, ...] = ("sim-a", "sim-b"), **options: object
) -> AsyncIterator[Simulator]:
    """A simulator with its files in `folder`; options are those of `python -m sim`."""
    given = {name.replace("_", "-"): value for name, value in options.items()}
    simulator = Simulator(folder, acquirers, given)
    try:
        await simulator.start()
        yield simulator
    finally:
        if simulator.process:
            await simulator.stop(signal.SIGKILL)
        await simulator.session.close()


class Inbox:
    """A target for callbacks. It keeps what came and says OK, unless told to refuse."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/callbacks/sim?via=test"
        self.came: list[tuple[dict, bytes, dict[str, str]]] = []
        self.refusals = 0
        self._held: dict[str, asyncio.Barrier] = {}
        self._changed = asyncio.Condition()

    async def answer(self, request: web.BaseRequest) -> web.Response:
        body = await request.read()
        async with self._changed:
            self.came.append((json.loads(body), body, dict(request.headers)))
            self._changed.notify_all()
            if self.refusals:
                self.refusals -= 1
                return web.Response(status=503, text="OK")
        if barrier := self._held.get(json.loads(body)["number"]):
            await barrier.wait()
        return web.Response(text="OK")

    def hold(self, count: int, *, about: str) -> None:
        """Answer callbacks about a number only when `count` of them are there."""
        self._held[about] = asyncio.Barrier(count)

    def about(self, number: str) -> list[dict]:
        return [said for said, _, _ in self.came if said["number"] == number]

    async def wait_for(self, done: Callable[[], object]) -> None:
        async with asyncio.timeout(WAIT_SECONDS), self._changed:
            await self._changed.wait_for(done)


@asynccontextmanager
async def open_inbox() -> AsyncIterator[Inbox]:
    """A target for callbacks on a port of its own."""
    inbox = Inbox()
    runner = web.ServerRunner(web.Server(inbox.answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", inbox.port).start()
    try:
        yield inbox
    finally:
        await runner.cleanup()


_serial = itertools.count(1)


def new_number(system: str = "AT") -> str:
    """A number as the platform makes them, unique in this process."""
    return f"20261122{system}{next(_serial):016d}"


def charge(inbox: Inbox, amount_minor: int = 1000, **other: object) -> dict:
    """What a caller sends to make a charge."""
    return {
        "charge_no": new_number(),
        "amount_minor": amount_minor,
        "currency": "CNY",
        "subject": "A cup of tea",
        "notify_url": inbox.url,
    } | other
