"""A running channel service between the real simulator and a scripted ledger."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.service.channel.world import World, open_world
from tests.services import Ground
from tests.simulator import Simulator, start_simulator


@pytest.fixture(scope="module")
async def simulator(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Simulator]:
    """Two acquirers, sim-a and sim-b, shared by the tests of a module; numbers are theirs."""
    folder: Path = tmp_path_factory.mktemp("simulator")
    async with start_simulator(folder) as running:
        yield running


@pytest.fixture
async def world(ground: Ground, simulator: Simulator) -> AsyncIterator[World]:
    """A channel service with both acquirers as accounts; sim-a is tried first."""
    async with open_world(ground, simulator) as opened:
        await opened.put_account("sim-a", priority=1)
        await opened.put_account("sim-b", priority=2)
        yield opened
        opened.ledger.gate.set()  # A test that failed may have left it shut, and we drain.
        await simulator.hang("sim-a", on=False)
        for name in ("sim-a", "sim-b"):
            await simulator.outage(name, on=False)
