"""Bring the services' schemas up to date, or show how far they are."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict

from cyclopts import App

from mesh.cli.output import AsJson, Home, show, table
from mesh.config import ConfigError, Settings, load, services
from mesh.embedded.places import StartError
from mesh.migrate import Standing, migrate, standing

db = App(name="db", help=__doc__)


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
