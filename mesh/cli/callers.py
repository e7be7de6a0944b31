"""Who speaks to a running installation from the command line: the operator, or a known app.

Apps are known when `<home>/demo/world.json` names them, with their keys beside it, as
`tongbao demo` leaves them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mesh.embedded.places import StartError
from mesh.pki import OPERATOR
from mesh.supervisor import read_state
from mesh.tokens import Signer

OPERATOR_NAME = "operator"


def app_names(home: Path) -> list[str]:
    """Return the names of the apps whose keys this home holds, sorted."""
    return sorted(_apps(home))


def signer_of(home: Path, name: str) -> Signer:
    """Return the signer of the operator or of an app. Raises StartError for a stranger."""
    if name == OPERATOR_NAME:
        file, issuer = home / "keys" / "operator.key", f"op:{OPERATOR}"
    else:
        apps = _apps(home)
        app = apps.get(name) or apps.get(name.upper())
        if app is None:
            raise StartError(
                f"nobody here is called {name!r}",
                why=f"known are {', '.join([OPERATOR_NAME, *sorted(apps)])}",
                next_step="Name one of these; `tongbao demo` makes apps",
            )
        file, issuer = home / "demo" / str(app["key"]), str(app["app_id"])
    try:
        return Signer.from_file(issuer, file)
    except FileNotFoundError:
        raise StartError(
            f"there is no key of {name}",
            why=f"{file} does not exist",
            next_step="Run `tongbao up`, or name another home by --home",
        ) from None


def running_state(home: Path) -> dict[str, Any]:
    """Return what the supervisor of `home` says about itself. Raises StartError."""
    state = read_state(home)
    if state is None:
        raise StartError(
            f"nothing answers in {home}",
            why="nothing runs there",
            next_step="Run `tongbao up`, or name another home by --home",
        )
    return state


def _apps(home: Path) -> dict[str, dict[str, Any]]:
    try:
        world = json.loads((home / "demo" / "world.json").read_text())
    except FileNotFoundError:
        return {}
    apps: dict[str, dict[str, Any]] = world["apps"]
    return apps
