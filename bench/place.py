"""Where a bench makes its installation, on which ports, and how it says what it does."""

from __future__ import annotations

import random
import sys
from pathlib import Path

from mesh.cli.output import Home
from mesh.config import load
from mesh.embedded.places import StartError, is_free
from mesh.supervisor import is_running

_PORTS, _TRIES = (20_000, 32_000), 200


def place_of(home: Home) -> Path:
    """Return the home of a bench's own installation. Raises StartError if one runs there."""
    place = load(home=home).home / "bench"
    if is_running(place):
        raise StartError(
            "a bench is running already",
            why=f"its installation is in {place}",
            next_step="Wait for it, or name another home by --home",
        )
    return place


def free_row(count: int) -> int:
    """Return the first of `count` ports in a row that nobody listens on: one a service."""
    draw = random.SystemRandom()
    for _ in range(_TRIES):
        first = draw.randrange(*_PORTS)
        if all(is_free(first + place) for place in range(count)):
            return first
    raise StartError(
        f"there are no {count} free ports in a row",
        why=f"{_TRIES} places between {_PORTS[0]} and {_PORTS[1]} were tried",
        next_step="Stop what listens there",
    )


def say(what: str) -> None:
    """Tell people how far it is; results go elsewhere."""
    sys.stderr.write(what + "\n")
