"""The fault proxy: one process through which every link of an installation goes.

`python -m torture.proxy` reads commands from stdin, a JSON object a line, and answers each by
one on stdout:

    {"do": "open", "links": [{"name", "listen", "target"}], "seed"}
    {"do": "weather", "link", …}                what happens on a link from now on
    {"do": "half_close", "link", "way"}
    {"do": "cuts", "link"}                      how many answers were cut so far

It leaves when stdin ends.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from typing import Any

from torture.relay import Link, Weather


class Proxy:
    """The links, and what is asked of them."""

    def __init__(self) -> None:
        self._links: dict[str, Link] = {}

    async def do(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Carry one command out and return the answer. Raises KeyError, OSError, TypeError."""
        match asked.pop("do"):
            case "open":
                for one in asked["links"]:
                    link = Link(**one, seed=asked["seed"])
                    await link.open()
                    self._links[link.name] = link
                return {"open": len(self._links)}
            case "weather":
                link = self._links[asked.pop("link")]
                held = tuple(asked.pop("held", ()))
                link.weather = Weather(**asked, held=held)
                return {}
            case "half_close":
                return {"shut": self._links[asked["link"]].half_close(asked["way"])}
            case "cuts":
                return {"cuts": self._links[asked["link"]].cuts}
            case other:
                raise KeyError(other)

    async def close(self) -> None:
        """Close every link."""
        for link in self._links.values():
            await link.close()


async def _run() -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, lambda: None)  # Who holds our stdin ends us.
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    proxy = Proxy()
    while line := await reader.readline():
        try:
            answer = await proxy.do(json.loads(line))
        except (KeyError, OSError, TypeError, ValueError) as error:
            answer = {"error": repr(error)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    await proxy.close()


if __name__ == "__main__":
    asyncio.run(_run())
