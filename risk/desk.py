"""What every flow of this service works with."""

from __future__ import annotations

from dataclasses import dataclass

from mesh.clock import Clock
from mesh.db import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """The first parameter of every flow."""

    db: Database
    clock: Clock
