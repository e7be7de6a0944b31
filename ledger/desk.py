"""What every flow of this service works with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from ledger.accounts import Accounts
from ledger.checkpoints import Notary
from ledger.checkpoints import folder_of as checkpoints_of
from ledger.history.files import folder_of as history_of
from ledger.history.read import History
from ledger.proofs import folder_of as proofs_of
from mesh.clock import Clock
from mesh.db import Database
from mesh.serve import Runtime


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """The first parameter of every flow."""

    db: Database
    clock: Clock
    accounts: Accounts
    history: History
    keep_entry_days: int
    notary: Notary | None = None  # A running service has one.
    proofs: Path | None = None  # Where proofs are kept that take several calls; likewise.


@asynccontextmanager
async def opened(runtime: Runtime) -> AsyncIterator[Desk]:
    """Yield the desk of a running service."""
    settings = runtime.settings
    assert settings.key_file, "derived from the service"
    key = load_pem_private_key(settings.key_file.read_bytes(), None)
    assert isinstance(key, Ed25519PrivateKey), "the signer has read it as such"
    history = History(history_of(settings.home))
    try:
        yield Desk(
            db=runtime.db,
            clock=runtime.clock,
            accounts=Accounts(runtime.db),
            history=history,
            keep_entry_days=settings.keep_entry_days,
            notary=Notary(folder=checkpoints_of(settings.home), key=key),
            proofs=proofs_of(settings.home),
        )
    finally:
        await history.close()
