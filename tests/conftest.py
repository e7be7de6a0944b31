"""Real servers for tests: one PostgreSQL and one NATS a session, a new database a test."""

import gc
import itertools
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from mesh.config import load, services
from mesh.embedded import Nats, Postgres, prepare_database
from mesh.migrate import migrate

_SMALL = {"shared_buffers": "128MB", "max_wal_size": "1GB"}


def pytest_configure() -> None:
    """Hear SIGINT: a shell's background job ignores it, and so would all that tests start."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def home() -> Iterator[Path]:
    """A home that PostgreSQL's user can reach; gone when the session ends."""
    folder = Path(tempfile.mkdtemp(prefix="tongbao-test-"))
    folder.chmod(0o711)  # pytest's own directories are closed to others.
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def fresh_home() -> Iterator[Path]:
    """A home of this test's own that PostgreSQL's user can reach."""
    folder = Path(tempfile.mkdtemp(prefix="tongbao-home-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
async def postgres(home: Path) -> AsyncIterator[Postgres]:
    """A running server with a role for every service; TONGBAO_POSTGRES_MAJOR says which."""
    server = Postgres(home, major=load(home=home).postgres_major, options=_SMALL)
    async with server:
        await prepare_database(
            server.admin_dsn, services(), secrets=home / "secrets", exclusive=True
        )
        yield server
    server.remove()


@pytest.fixture(scope="session")
async def nats(home: Path) -> AsyncIterator[Nats]:
    """A running server that all tests share: its streams are those of earlier tests too."""
    async with Nats(home, services=services()) as server:
        yield server


@pytest.fixture
async def fresh_nats(tmp_path: Path) -> AsyncIterator[Nats]:
    """A server of this test's own, without streams; it may be killed."""
    async with Nats(tmp_path, services=services()) as server:
        yield server


@pytest.fixture(scope="session")
def _templates() -> dict[tuple[str, ...], str]:
    """Which databases of this session hold a migrated schema to be copied."""
    return {}


@pytest.fixture
def database(
    postgres: Postgres, _templates: dict[tuple[str, ...], str]
) -> Iterator[Callable[..., str]]:
    """Return `make(service, *, migrated=True, folder=None) -> dsn` of a new database.

    The DSN is the service's own role. Every call makes another database, with the schema
    of `service` as its migrations (or those in `folder`) leave it, or empty.
    """
    made: list[str] = []

    def make(service: str, *, migrated: bool = True, folder: Path | None = None) -> str:
        name = f"test_{next(_NUMBERS)}"
        with psycopg.connect(postgres.admin_dsn, autocommit=True) as admin:
            if migrated:
                template = _template(postgres, admin, _templates, service, folder)
                _create(admin, name, service, template=template)
            else:
                _create_with_schema(postgres, admin, name, service)
        made.append(name)
        return postgres.dsn(service, database=name)

    yield make
    # A pool that is closed while it grows forgets a connection half-way through its
    # authentication; until it is collected its backend would hold us up for a minute.
    gc.collect()
    with psycopg.connect(postgres.admin_dsn, autocommit=True) as admin:
        for name in made:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


_NUMBERS = itertools.count(1)


def _template(postgres, admin, templates, service, folder):
    """Return the name of a database with the migrated schema; made once for each content."""
    key = (service, str(folder) if folder else "")
    if key not in templates:
        name = f"template_{service}_{len(templates)}"
        _create_with_schema(postgres, admin, name, service)
        migrate(postgres.dsn(service, database=name), service, folder=folder)
        templates[key] = name
    return templates[key]


def _create_with_schema(postgres, admin, name, service):
    _create(admin, name, service, template="template0")
    with psycopg.connect(make_conninfo(postgres.admin_dsn, dbname=name), autocommit=True) as inside:
        inside.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
        schema = sql.SQL("CREATE SCHEMA {name} AUTHORIZATION {name}")
        inside.execute(schema.format(name=sql.Identifier(service)))


def _create(admin, name, service, *, template):
    create = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
    names = {"name": sql.Identifier(name), "service": sql.Identifier(service)}
    admin.execute(create.format(sql.Identifier(name), sql.Identifier(template)))
    admin.execute(sql.SQL("REVOKE ALL ON DATABASE {name} FROM PUBLIC").format(**names))
    admin.execute(
        sql.SQL("GRANT CONNECT, TEMPORARY ON DATABASE {name} TO {service}").format(**names)
    )
