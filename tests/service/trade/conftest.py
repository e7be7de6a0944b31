"""Running trade services with scripted neighbours: one for all tests, or one of a test's own."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from mesh.config import services
from mesh.embedded import Nats, Postgres, prepare_database
from mesh.migrate import migrate
from tests.service.trade.receiver import Receiver
from tests.service.trade.shop import Shop, World, running
from tests.services import Ground, open_ground

_SHARED = "trade_shared"


@pytest.fixture(scope="session")
async def shared_world(postgres: Postgres) -> AsyncIterator[World]:
    """A service on a database and a NATS of its own, for tests that leave time alone."""
    with tempfile.TemporaryDirectory(prefix="tbtrade-") as folder:
        dsns = await prepare_database(
            postgres.admin_dsn, services(), secrets=postgres.home / "secrets", database=_SHARED
        )
        migrate(dsns["trade"], "trade")
        async with (
            Nats(Path(folder), services=services()) as nats,
            open_ground(nats=nats, database=lambda name: dsns[name]) as ground,
            running(ground) as world,
        ):
            yield world
    with psycopg.connect(make_conninfo(postgres.admin_dsn), autocommit=True) as admin:
        drop = sql.SQL("DROP DATABASE {} WITH (FORCE)")
        admin.execute(drop.format(sql.Identifier(_SHARED)))


@pytest.fixture
def world(shared_world: World) -> Iterator[World]:
    """The shared service; every test brings business lines of its own."""
    yield shared_world
    left = shared_world.payment.forget()
    assert not left, f"{left} steps were scripted and never taken"


@pytest.fixture
async def fresh(ground: Ground) -> AsyncIterator[World]:
    """A service of this test's own: its clock may be shifted, its neighbours may fall."""
    async with running(ground) as world:
        yield world


@pytest.fixture
async def shop(world: World) -> Shop:
    """A business line with everything it needs, without webhooks."""
    return await world.shop()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Where webhooks go."""
    async with Receiver() as one:
        yield one
