"""The installation the demo plays on: the one that runs in a home, or one started for it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from demo.client import Caller, Doors
from demo.simulator import Acquirer, Simulator
from mesh.config import Settings
from mesh.embedded.places import StartError
from mesh.supervisor import Event, Supervisor, read_state
from mesh.tokens import Signer

OPERATOR = "op:admin"
ACQUIRERS = ("sim-a", "sim-b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A running installation as seen from outside."""

    settings: Settings
    state: dict[str, Any]
    doors: Doors
    operator: Caller
    simulator: Simulator
    acquirers: tuple[Acquirer, ...]
    started_here: bool


@asynccontextmanager
async def open_stage(settings: Settings, tell: Callable[[Event], None]) -> AsyncIterator[Stage]:
    """Yield what runs in the home, started now if nothing did; stop it then. Raises StartError."""
    async with AsyncExitStack() as stack:
        state = read_state(settings.home)
        started_here = state is None
        if state is None:
            await stack.enter_async_context(Supervisor(settings=settings, tell=tell))
            state = read_state(settings.home)
            assert state is not None, "it wrote it when all was up"
        _check(state, settings)
        secrets = json.loads((settings.home / "secrets" / "sim.json").read_text())
        doors = Doors(state["ports"], host=settings.public_host, ca=settings.tls_ca)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        yield Stage(
            settings=settings,
            state=state,
            doors=await stack.enter_async_context(doors),
            operator=operator(settings),
            simulator=Simulator(state["urls"]["sim"], secret=secrets["control"], session=session),
            acquirers=tuple(
                Acquirer(name=name, url=state["urls"][name], secret=secrets[name])
                for name in ACQUIRERS
            ),
            started_here=started_here,
        )


def operator(settings: Settings) -> Caller:
    """Return the first operator of the home."""
    return Caller(Signer.from_file(OPERATOR, settings.home / "keys" / "operator.key"))


def _check(state: dict[str, Any], settings: Settings) -> None:
    if not state["healthy"]:
        raise StartError(
            f"{settings.home} is still starting",
            why=f"pid {state['pid']} has not brought everything up yet",
            next_step="Wait for it: `tongbao status` shows what answers",
        )
    missing = [name for name in ("sim", *ACQUIRERS) if name not in state["urls"]]
    if missing:
        raise StartError(
            "the demo needs the provider simulator",
            why=f"{', '.join(missing)} does not run in {settings.home}",
            next_step="Name another home by --home, without TONGBAO_SIM_URL",
        )
