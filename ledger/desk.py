"""What every flow of this service works with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from ledger.accounts import Accounts
from mesh.clock import Clock
from mesh.db import Database
from mesh.serve import Runtime


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """The first parameter of every flow."""

    db: Database
    clock: Clock
    accounts: Accounts


@asynccontextmanager
async def opened(runtime: Runtime) -> AsyncIterator[Desk]:
    """Yield the desk of a running service."""
    yield Desk(db=runtime.db, clock=runtime.clock, accounts=Accounts(runtime.db))
