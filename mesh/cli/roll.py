"""`tongbao roll`: new processes in the place of those that run, without a call being lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from mesh.cli.output import AsJson, Home, show
from mesh.config import ConfigError, load, services
from mesh.supervisor.control import ask

ALL = "all"


def roll(*names: str, home: Home = None, as_json: AsJson = False) -> int:
    """Replace running services one after the other; no call fails, no connection is reset.

    Brings the schemas up to date, then for each service: a new process starts beside the one
    that runs, takes its place when it is healthy, and the old one leaves when everybody who
    was connected to it has moved: `connection_seconds` (30 s) a service. A new process that
    does not become healthy is ended and the old one stays. Code and certificates are new then;
    settings stay what they were at `tongbao up`.

    Examples: `tongbao roll`, `tongbao roll trade payment`, `tongbao roll all --json`.
    Exit codes: 0 all were replaced; 1 one was not, and those before it were; 2 there is no
    such service.

    Parameters
    ----------
    names
        The services, in this order. Default, or `all`: every one.
    home
        The home it runs in. Default: .tongbao, or TONGBAO_HOME.
    as_json
        Write one JSON object a line.
    """
    settings = load(home=home)
    wanted = [] if ALL in names else list(names)
    for name in wanted:
        if name not in services():
            raise ConfigError(f"name: must be one of {', '.join(services())} (got {name!r})")
    return asyncio.run(_show(ask(settings.socket_dir, {"verb": "roll", "names": wanted}), as_json))


async def _show(told: AsyncIterator[dict[str, Any]], as_json: bool) -> int:
    async for line in told:
        if names := line.get("done", {}).get("rolled"):
            text = f"replaced {', '.join(names)}"
        elif line["event"] == "rolled":
            text = f"{line['name']:<12} replaced in {line['seconds']} s, now pid {line['pid']}"
        else:
            text = f"{line['name']:<12} …"
        show(text, line, as_json=as_json)
    return 0
