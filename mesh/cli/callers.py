"""Who speaks to a running installation from the command line: an operator, or a known app.

The operator of this home has its key there; another one brings the file of theirs. Apps are
known when `<home>/demo/world.json` names them, with their keys beside it, as
`tongbao demo` leaves them.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from mesh.embedded.places import StartError
from mesh.pki import OPERATOR
from mesh.supervisor import read_state
from mesh.tokens import Signer

OPERATOR_NAME = "operator"
_KEY_FILE = re.compile(r"op-([A-Za-z0-9-]{1,64})\.key")  # Of another operator; see mesh.tokens.


def app_names(home: Path) -> list[str]:
    """Return the names of the apps whose keys this home holds, sorted."""
    return sorted(_apps(home))


def signer_of(home: Path, name: str) -> Signer:
    """Return the signer of the operator, of an app, or of the operator whose private key the
    file `op-<name>.key` called `name` holds. Raises StartError for a stranger.
    """
    if name == OPERATOR_NAME:
        file, issuer = home / "keys" / "operator.key", f"op:{OPERATOR}"
    elif another := _KEY_FILE.fullmatch(Path(name).name):
        file, issuer = Path(name), f"op:{another[1]}"
    else:
        apps = _apps(home)
        app = apps.get(name) or apps.get(name.upper())
        if app is None:
            raise StartError(
                f"nobody here is called {name!r}",
                why=f"known are {', '.join([OPERATOR_NAME, *sorted(apps)])}",
                next_step="Name one of these, which `tongbao demo` makes, or the key file "
                "op-<name>.key of another operator",
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
    except ValueError as error:
        raise StartError(
            f"there is no key in {file}",
            why=str(error),
            next_step="Make one: openssl genpkey -algorithm ed25519",
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
