"""A database, scripted neighbours and any number of replicas for each test of this service."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from payment.desk import Desk
from tests.service.payment.neighbours import Neighbours
from tests.service.payment.scene import open_replica


@pytest.fixture
def sockets() -> Iterator[Path]:
    """A directory whose path is short enough for sockets."""
    folder = Path(tempfile.mkdtemp(prefix="tbpay-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
async def neighbours(sockets: Path) -> AsyncIterator[Neighbours]:
    """Risk, ledger and channel, who do well what they are asked until they are told otherwise."""
    async with Neighbours(sockets) as all_three:
        yield all_three


@pytest.fixture
def dsn(database: Callable[..., str]) -> str:
    """A new database with this service's schema."""
    return database("payment")


@pytest.fixture
async def replicas(
    dsn: str, neighbours: Neighbours
) -> AsyncIterator[Callable[[int], Awaitable[list[Desk]]]]:
    """Return `open(count)`: replicas that share nothing but the database and the neighbours."""
    async with AsyncExitStack() as stack:

        async def opened(count: int) -> list[Desk]:
            return [await open_replica(stack, dsn, neighbours.folder) for _ in range(count)]

        yield opened


@pytest.fixture
async def desk(replicas: Callable[[int], Awaitable[list[Desk]]]) -> Desk:
    """One replica."""
    [one] = await replicas(1)
    return one
