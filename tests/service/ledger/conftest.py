"""What the tests of this service share: a desk on a database of its own."""

from collections.abc import AsyncIterator

import pytest

from ledger.accounts import Accounts
from ledger.desk import Desk
from ledger.history.read import History
from mesh.clock import Clock
from mesh.config import load
from mesh.context import Acting, acting_as
from mesh.db import Database


@pytest.fixture
def dsn(database):
    """A new database of the ledger."""
    return database("ledger")


@pytest.fixture
async def desk(dsn, tmp_path) -> AsyncIterator[Desk]:
    """The first parameter of every flow, acting for the app `mall`."""
    async with Database(dsn) as db:
        history = History(tmp_path / "history")
        yield Desk(
            db=db,
            clock=Clock(),
            accounts=Accounts(db),
            history=history,
            keep_entry_days=load().keep_entry_days,
        )
        await history.close()


@pytest.fixture(autouse=True)
def acting():
    """Everything a test books is booked for the app `mall`."""
    with acting_as(Acting(app_id="mall")):
        yield
