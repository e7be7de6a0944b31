"""What one trial plays on: the world, its callers, its provider and its receiver."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from demo.client import Doors
from demo.journal import Journal
from demo.receiver import Receiver
from demo.simulator import Acquirer, Simulator
from demo.stage import Stage, operator
from demo.world import World, make_world, open_world
from mesh.tokens import Signer
from torture.bus import Bus
from torture.client import Client, Patience
from torture.history import History
from torture.installation import Installation
from torture.wires import ACQUIRERS, CALLERS, WEBHOOKS

_CONTROL_S = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Everything of one trial while it runs. `clients` are by app."""

    installation: Installation
    stage: Stage
    world: World
    receiver: Receiver
    history: History
    bus: Bus
    clients: Mapping[str, Client]
    patience: Patience


@asynccontextmanager
async def open_scene(
    installation: Installation, history: History, *, seed: int
) -> AsyncIterator[Scene]:
    """Make the world in a running installation, with all addresses on the proxy.

    Raises CallFailed, StartError.
    """
    settings, wires = installation.settings, installation.wires
    state = installation.state()
    assert state is not None, "it is up"
    async with AsyncExitStack() as stack:
        doors = await stack.enter_async_context(
            Doors(state["ports"], host=settings.public_host, ca=settings.tls_ca)
        )
        ports = state["ports"] | {"trade": wires.port(CALLERS)}
        behind = await stack.enter_async_context(
            Doors(ports, host=settings.public_host, ca=settings.tls_ca)
        )
        control = aiohttp.ClientTimeout(total=_CONTROL_S)
        session = await stack.enter_async_context(aiohttp.ClientSession(timeout=control))
        stage = _stage(installation, state, doors, session)
        world = open_world(settings.home, webhook_port=wires.port(WEBHOOKS))
        journal = Journal(settings.home.parent / "webhooks.jsonl")
        stack.callback(journal.close)
        receiver = Receiver(journal, port=installation.webhook_port, secrets={})
        await stack.enter_async_context(receiver)
        await make_world(world, doors, stage.operator, stage.acquirers)
        receiver.secrets.update(world.webhook_secrets())
        patience = Patience()
        clients = {
            name: Client(
                behind,
                Signer.from_file(app.app_id, world.folder / app.key),
                history,
                patience,
                seed=f"client {name} {seed}",
            )
            for name, app in world.apps.items()
        }
        yield Scene(
            installation=installation,
            stage=stage,
            world=world,
            receiver=receiver,
            history=history,
            bus=Bus(installation.monitor_port, session=session),
            clients=clients,
            patience=patience,
        )


def _stage(
    installation: Installation,
    state: dict[str, Any],
    doors: Doors,
    session: aiohttp.ClientSession,
) -> Stage:
    """Return the installation as the demo's parts see it; its providers are behind the proxy."""
    settings = installation.settings
    secrets = json.loads((settings.home / "secrets" / "sim.json").read_text())
    acquirers = tuple(
        Acquirer(
            name=name,
            url=f"http://127.0.0.1:{installation.wires.port(f'channel>{name}')}",
            secret=secrets[name],
        )
        for name in ACQUIRERS
    )
    return Stage(
        settings=settings,
        state=state,
        doors=doors,
        operator=operator(settings),
        simulator=Simulator(state["urls"]["sim"], secret=secrets["control"], session=session),
        acquirers=acquirers,
        started_here=True,
    )
