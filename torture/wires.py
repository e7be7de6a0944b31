"""Every link of an installation, with the proxy in its middle.

Services find each other, PostgreSQL and NATS by the setting `routes`; providers, callbacks
and webhooks go where addresses that are data say; callers call the proxy's port.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mesh.config import Settings, services, short_dir
from mesh.embedded.pgfiles import lay_out
from mesh.embedded.places import Ports, private_dir
from torture.relay import FAIR, Weather

POSTGRES, NATS, PROVIDERS = "postgres", "nats", "providers"
ACQUIRERS = ("sim-a", "sim-b")
CALLBACKS, WEBHOOKS, CALLERS = "sim>channel", "trade>receiver", "callers>trade"
# Who calls whom in the course of a payment; traces are read over other links.
NEIGHBOURS = ("trade>payment", "trade>ledger", "payment>risk", "payment>ledger",
              "payment>channel", "channel>ledger")  # fmt: skip
_HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """One link. `route` is how the setting `routes` spells where it begins; empty: by data."""

    name: str
    listen: str
    target: str
    route: str = ""


@dataclass(frozen=True, slots=True)
class Wires:
    """All links of one home, and the ports at which the links of data begin."""

    all: Sequence[Wire]

    def routes(self) -> dict[str, str]:
        """Return the setting that leads the services over these links."""
        return {wire.name: wire.route for wire in self.all if wire.route}

    def port(self, name: str) -> int:
        """Return the port at which a link over TCP begins."""
        [wire] = [one for one in self.all if one.name == name]
        return int(wire.listen.rpartition(":")[2])


def lay_wires(settings: Settings) -> Wires:
    """Choose all addresses of the home, which `make_home` has made. Raises StartError."""
    home, ports = settings.home, Ports(settings.home)
    folder = private_dir(short_dir(home / "wires"))
    database = lay_out(home, major=settings.postgres_major).sockets
    database_port = ports.port(POSTGRES)
    wires = []
    for place, service in enumerate(services(), 1):
        wires.append(
            Wire(
                name=f"{service}>{POSTGRES}",
                listen=f"unix:{folder}/.s.PGSQL.{place}",
                target=f"unix:{database}/.s.PGSQL.{database_port}",
                route=f"{folder}:{place}",
            )
        )
        own = f"{_HOST}:{ports.port(f'wire {service}>{NATS}')}"
        target = f"{_HOST}:{ports.port(NATS)}"
        wires.append(Wire(name=f"{service}>{NATS}", listen=own, target=target, route=own))
        for other, neighbour in enumerate(services(), 1):
            if neighbour != service:
                own = f"unix:{folder}/{place}-{other}.sock"
                straight = f"unix:{settings.socket_dir}/{neighbour}.sock"
                wires.append(
                    Wire(name=f"{service}>{neighbour}", listen=own, target=straight, route=own)
                )
    ends = {f"channel>{name}": name for name in ACQUIRERS}
    ends |= {CALLBACKS: "http", WEBHOOKS: "webhooks", CALLERS: "trade"}
    for name, end in ends.items():
        own = f"{_HOST}:{ports.port(f'wire {name}')}"
        wires.append(Wire(name=name, listen=own, target=f"{_HOST}:{ports.port(end)}"))
    return Wires(wires)


class ProxyFailed(Exception):
    """The proxy did not do what it was asked."""


class ProxyProcess:
    """The proxy from outside: started, told, ended."""

    def __init__(self, log: Path) -> None:
        """Start the process; what it says of itself goes to `log`."""
        with log.open("ab") as errors:
            self._popen = subprocess.Popen(  # Our own module.
                [sys.executable, "-m", "torture.proxy"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
        self._turn = asyncio.Lock()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._popen.pid

    async def open(self, wires: Wires, *, seed: str) -> None:
        """Begin to carry. Raises ProxyFailed."""
        links = [{"name": w.name, "listen": w.listen, "target": w.target} for w in wires.all]
        await self.ask(do="open", links=links, seed=seed)

    async def weather(self, link: str, weather: Weather = FAIR) -> None:
        """Say what happens on a link from now on. Raises ProxyFailed."""
        await self.ask(do="weather", link=link, **asdict(weather))

    async def ask(self, **command: Any) -> dict[str, Any]:
        """Return the answer to one command. Raises ProxyFailed."""
        async with self._turn:
            line = await asyncio.to_thread(self._ask, json.dumps(command))
        answer: dict[str, Any] = json.loads(line or "{}")
        if not line or "error" in answer:
            raise ProxyFailed(f"{command.get('do')}: {answer.get('error', 'it left')}")
        return answer

    def close(self) -> None:
        """End it, and everything that goes through it."""
        assert self._popen.stdin is not None, "it was made with one"
        assert self._popen.stdout is not None, "it was made with one"
        self._popen.stdin.close()
        self._popen.wait()
        self._popen.stdout.close()

    def _ask(self, line: str) -> bytes:
        assert self._popen.stdin is not None, "it was made with one"
        assert self._popen.stdout is not None, "it was made with one"
        self._popen.stdin.write(line.encode() + b"\n")
        self._popen.stdin.flush()
        return self._popen.stdout.readline()
