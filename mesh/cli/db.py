"""Bring the services' schemas up to date, or show how far they are."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated, Any

from cyclopts import App, Parameter
from cyclopts.validators import Number

from mesh.batch import NotExecuted, Rejected, Undone, Unknown
from mesh.cli.output import AsJson, Home, show, table
from mesh.config import ConfigError, Settings, load, services
from mesh.db import Database
from mesh.embedded.places import StartError
from mesh.migrate import Standing, migrate, standing
from mesh.upkeep import MONTHS_AHEAD, delete_old, horizons, make_partitions

db = App(name="db", help=__doc__)

_MOVE = (
    "Where rows lie in a default partition: move them to a table of their own, run this, and"
    " insert them again"
)


@db.command
def upgrade(*, service: str | None = None, home: Home = None, as_json: AsJson = False) -> int:
    """Apply the revisions that are missing. There is no way down.

    Exit codes: 0 all schemas are up to date; 1 one is not, and those before it are.

    Parameters
    ----------
    service
        Only this one. With TONGBAO_DATABASE_DSN its role and database; required then.
    home
        The home of a running installation. Default: .tongbao, or TONGBAO_HOME.
    as_json
        Write JSON.
    """
    return _each(migrate, service, load(home=home), as_json=as_json)


@db.command
def current(*, service: str | None = None, home: Home = None, as_json: AsJson = False) -> int:
    """Show the revision of each schema and the newest there is.

    Exit codes: 0 all schemas are up to date; 1 one is behind or cannot be read.

    Parameters
    ----------
    service
        Only this one. With TONGBAO_DATABASE_DSN its role and database; required then.
    home
        The home of a running installation. Default: .tongbao, or TONGBAO_HOME.
    as_json
        Write JSON.
    """
    return _each(standing, service, load(home=home), as_json=as_json)


@db.command
def partitions(
    *,
    months: Annotated[int, Parameter(validator=Number(gte=0, lte=120))] = MONTHS_AHEAD,
    service: str | None = None,
    home: Home = None,
    as_json: AsJson = False,
) -> int:
    """Make the partitions that are missing for the months to come.

    Running services do so by themselves every ten minutes. Example: `tongbao db partitions
    --months 24`. Rows of the ledger that came before their week was made are given a partition.
    Exit codes: 0 all are there; 1 a database did not answer, or rows of another service's year
    lie in the default partition, which keeps it from being made.

    Parameters
    ----------
    months
        For how many months from now, in business time. The ledger has weeks: always five.
    service
        Only this one. With TONGBAO_DATABASE_DSN its role and database; required then.
    home
        The home of an installation whose PostgreSQL runs. Default: .tongbao, or TONGBAO_HOME.
    as_json
        Write JSON.
    """
    settings = load(home=home)
    names = _names(service, settings)
    told = asyncio.run(_partitions({name: _dsn(settings, name) for name in names}, months))
    heads = [["table", "made for", ""]]
    rows = [[one["table"], f"{one['days']} days", "stray rows" if one["strays"] else ""]
            for one in told]  # fmt: skip
    show(table(heads + rows), told, as_json=as_json)
    return 0


@db.command
def retention(*, service: str | None = None, home: Home = None, as_json: AsJson = False) -> int:
    """Delete rows that are older than the settings `keep_…_days` allow, some at a time.

    Running services do so by themselves every ten minutes. Exit codes: 0 done; 1 a database
    did not answer.

    Parameters
    ----------
    service
        Only this one. With TONGBAO_DATABASE_DSN its role and database; required then.
    home
        The home of an installation whose PostgreSQL runs. Default: .tongbao, or TONGBAO_HOME.
    as_json
        Write JSON.
    """
    settings = load(home=home)
    told = {
        name: asyncio.run(_retention(_dsn(settings, name), name, settings))
        for name in _names(service, settings)
    }
    rows = [[name, what, str(count)] for name, gone in told.items() for what, count in gone.items()]
    show(table([["service", "table", "deleted"], *rows]), told, as_json=as_json)
    return 0


async def _partitions(dsns: Mapping[str, str], months: int) -> list[dict[str, Any]]:
    told = []
    for name, dsn in dsns.items():
        with _spoken(name):
            async with Database(dsn, connections_max=1) as database:
                await make_partitions(database, months=months)
                found = await horizons(database)
        told += [{"table": f"{name}.{one.name}", "days": one.days, "strays": one.strays}
                 for one in found]  # fmt: skip
    return told


async def _retention(dsn: str, name: str, settings: Settings) -> dict[str, int]:
    from mesh.serve import installed, kept_rows  # Here: it loads the service's code.

    with _spoken(name):
        async with Database(dsn, connections_max=1) as database:
            return await delete_old(database, kept_rows(installed(name), settings))


@contextmanager
def _spoken(service: str) -> Iterator[None]:
    """Turn what a database says into an error for people."""
    try:
        yield
    except Rejected as error:
        raise StartError(
            f"cannot do that in the schema of {service}",
            why=str(error).strip().splitlines()[0],
            next_step=_MOVE,
        ) from error
    except (NotExecuted, Undone, Unknown) as error:
        raise StartError(
            f"the database of {service} did not answer",
            why=str(error).strip().splitlines()[0],
            next_step="Look: `tongbao status`; then run it again, it begins where it was",
        ) from error


def _each(
    do: Callable[[str, str], Standing], service: str | None, settings: Settings, *, as_json: bool
) -> int:
    found = [do(_dsn(settings, name), name) for name in _names(service, settings)]
    rows = [[one.service, one.applied or "-", one.newest or "-",
             "" if one.applied == one.newest else "behind"] for one in found]  # fmt: skip
    text = table([["service", "applied", "newest", ""], *rows])
    show(text, [asdict(one) for one in found], as_json=as_json)
    return 0 if all(one.applied == one.newest for one in found) else 1


def _names(service: str | None, settings: Settings) -> tuple[str, ...]:
    if service is not None and service not in services():
        raise ConfigError(f"--service: must be one of {', '.join(services())} (got {service!r})")
    if service is None and settings.database_dsn is not None:
        raise ConfigError(
            "--service: is required with TONGBAO_DATABASE_DSN, which is one service's"
        )
    return services() if service is None else (service,)


def _dsn(settings: Settings, service: str) -> str:
    """Return the DSN of `service`: what was set, or what the supervisor wrote for it."""
    if settings.database_dsn is not None:
        return settings.database_dsn
    file = settings.home / "run" / f"{service}.json"
    try:
        return str(json.loads(file.read_text())["database_dsn"])
    except (FileNotFoundError, KeyError):
        raise StartError(
            f"cannot find the database of {service}",
            why=f"nothing was ever started in {settings.home}",
            next_step="Run `tongbao up`, or set TONGBAO_DATABASE_DSN and --service",
        ) from None
