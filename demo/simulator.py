"""The provider simulator from the side of whoever runs the experiment: truth and outages."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import aiohttp

from checker.evidence import Movement


@dataclass(frozen=True, slots=True, kw_only=True)
class Acquirer:
    """One provider: where it answers, and the secret of our account there."""

    name: str
    url: str
    secret: str


class Simulator:
    """The control port of a running simulator."""

    def __init__(self, url: str, *, secret: str, session: aiohttp.ClientSession) -> None:
        self._url, self._session = url, session
        self._headers = {"Authorization": f"Bearer {secret}"}

    async def outage(self, acquirer: str, *, on: bool) -> None:
        """Close the doors of `acquirer`, or open them again."""
        await self._post("outage", {"acquirer": acquirer, "on": on})

    async def hang(self, acquirer: str, *, on: bool) -> None:
        """Let every request to `acquirer` wait without an answer, or no longer."""
        await self._post("hang", {"acquirer": acquirer, "on": on})

    async def rule(self, acquirer: str, *, op: str, fault: str, times: int) -> None:
        """Let the next `times` requests `op` to `acquirer` suffer `fault`."""
        match, then = {"acquirer": acquirer, "op": op}, {"fault": fault, "times": times}
        await self._post("rules", {"match": match, "then": then})

    async def truth(self) -> list[Movement]:
        """Return every order of every acquirer as it is, oldest first."""
        async with self._session.get(
            f"{self._url}/_ctl/truth", headers=self._headers, raise_for_status=True
        ) as reply:
            return [_movement(json.loads(line)) async for line in reply.content]

    async def _post(self, verb: str, content: dict[str, Any]) -> None:
        async with self._session.post(
            f"{self._url}/_ctl/{verb}", json=content, headers=self._headers, raise_for_status=True
        ):
            pass


def _movement(row: dict[str, Any]) -> Movement:
    return Movement(
        kind=row["kind"],
        acquirer=row["acquirer"],
        number=row["number"],
        of=row["of"],
        state=row["state"],
        amount_minor=row["amount_minor"],
        moved_minor=row["moved_minor"],
        currency_code=row["moved_currency"],
    )
