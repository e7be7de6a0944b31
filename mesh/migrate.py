"""Brings a service's schema up to date: one Alembic environment for all services.

Revisions are `<service>/migrations/NNNN_<what>.py` with `revision`, `down_revision` and
`upgrade()`. There is no way down: a mistake is corrected by the next revision.
"""

from __future__ import annotations

import importlib.resources
import importlib.util
import random
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from alembic import op
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, RevisionStep
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.pool import NullPool

from mesh.embedded.places import StartError

TRIES = 20
LOCK_TIMEOUT = "1s"  # A migration that waits for a lock makes everyone behind it wait too.
STATEMENT_TIMEOUT = "60s"
TURN_TIMEOUT = "120s"  # For another runner to finish.

_READ = "Nothing of the failed revision stands: correct it and run again"
_REACH = "Check that PostgreSQL runs: `tongbao status`"
_NAME = re.compile(r"\d{4}_\w+\.py")


class MigrationError(StartError):
    """A schema could not be brought up to date. The last complete revision stands."""

    def __init__(self, service: str, why: object, *, next_step: str) -> None:
        text = " ".join(str(why).split())
        super().__init__(f"cannot migrate {service}", why=text, next_step=next_step)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How far a service's schema is: the revision applied, and the newest there is."""

    service: str
    applied: str | None
    newest: str | None


def migrate(dsn: str, service: str, *, folder: Path | None = None) -> Standing:
    """Apply what is missing, each revision in its own transaction; return the result.

    `dsn` is the service's own role: what it creates, it owns. Two runners take turns. A
    revision that cannot get a lock within a second is undone and tried again. `folder` is
    where the revisions lie; by default in the service's package. Raises MigrationError.
    """
    script = _script(service, folder)
    with _turn(dsn, service):
        for tries_left in reversed(range(TRIES)):
            try:
                with _connected(dsn) as connection:
                    return _upgrade(connection, script, service)
            except OperationalError as error:
                locked = isinstance(error.orig, psycopg.errors.LockNotAvailable)
                if not locked or not tries_left:
                    raise MigrationError(service, error.orig, next_step=_READ) from error
                time.sleep(random.uniform(0.1, 0.5))  # noqa: S311  # Only so that two differ.
            except (CommandError, DBAPIError) as error:
                raise MigrationError(service, error, next_step=_READ) from error
    raise AssertionError("the last try returns or raises")


def standing(dsn: str, service: str, *, folder: Path | None = None) -> Standing:
    """Return how far the schema of `service` is, changing nothing. Raises MigrationError."""
    script = _script(service, folder)
    try:
        with _connected(dsn) as connection:
            return _standing(connection, script, service)
    except OperationalError as error:
        raise MigrationError(service, error.orig, next_step=_REACH) from error


def run_sql(sql: str) -> None:
    """Run `sql` in the current revision, to the letter: `%` and `:` mean nothing here."""
    op.get_bind().exec_driver_sql(sql, execution_options={"no_parameters": True})


def sql_file(package: str, name: str) -> str:
    """Return the text of `name`, a file beside the modules of `package`."""
    return importlib.resources.files(package).joinpath(name).read_text()


def _upgrade(connection: Connection, script: ScriptDirectory, service: str) -> Standing:
    head = script.get_current_head()

    def steps(applied: object, _: MigrationContext) -> list[RevisionStep]:
        # Alembic's own name for "from what is applied to the head".
        return script._upgrade_revs(head, applied)  # type: ignore[arg-type]

    with EnvironmentContext(Config(), script, fn=steps, destination_rev=head) as environment:
        environment.configure(
            connection=connection, version_table_schema=service, transaction_per_migration=True
        )
        with environment.begin_transaction():
            environment.run_migrations()
    return _standing(connection, script, service)


def _standing(connection: Connection, script: ScriptDirectory, service: str) -> Standing:
    context = MigrationContext.configure(connection, opts={"version_table_schema": service})
    applied = context.get_current_revision()
    return Standing(service=service, applied=applied, newest=script.get_current_head())


@contextmanager
def _connected(dsn: str) -> Iterator[Connection]:
    engine = create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(dsn), poolclass=NullPool
    )
    try:
        with engine.connect() as connection:
            limits = {"lock_timeout": LOCK_TIMEOUT, "statement_timeout": STATEMENT_TIMEOUT}
            for name, value in limits.items():
                connection.exec_driver_sql(f"SET {name} = '{value}'")
            connection.commit()
            yield connection
    finally:
        engine.dispose()


@contextmanager
def _turn(dsn: str, service: str) -> Iterator[None]:
    """Hold the right to migrate `service`; a second runner waits for it."""
    try:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("SET lock_timeout = 0")
            connection.execute(f"SET statement_timeout = '{TURN_TIMEOUT}'")
            connection.execute(
                "SELECT pg_advisory_lock(hashtextextended(%s, 0))", [f"tongbao.migrate.{service}"]
            )
            yield
    except psycopg.errors.QueryCanceled as error:
        raise MigrationError(
            service, "another migration is still running", next_step="Wait for it, or end it"
        ) from error
    except psycopg.OperationalError as error:
        raise MigrationError(service, error, next_step=_REACH) from error


def _script(service: str, folder: Path | None) -> ScriptDirectory:
    """Return the revisions of `service`, in one line without branches."""
    place = folder or _folder(service)
    for file in sorted(place.glob("*.py")):
        if file.name != "__init__.py" and not _NAME.fullmatch(file.name):
            raise MigrationError(
                service, f"{file} is not named like 0001_what.py", next_step="Rename it"
            )
    script = ScriptDirectory(place, version_locations=[place])
    heads = script.get_heads()
    if len(heads) > 1:
        raise MigrationError(
            service,
            f"the revisions {', '.join(heads)} follow the same one",
            next_step="Put them in one line by down_revision",
        )
    return script


def _folder(service: str) -> Path:
    """Return the service's folder of revisions without importing the service."""
    spec = importlib.util.find_spec(service)
    places = list(spec.submodule_search_locations or ()) if spec else []
    for place in places:
        if (folder := Path(place) / "migrations").is_dir():
            return folder
    raise MigrationError(
        service, f"there is no folder {service}/migrations", next_step="Install the service"
    )
