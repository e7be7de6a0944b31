"""Measures are taken at their own pace, and what costs much is taken rarely."""

import pytest

from mesh.clock import Clock
from mesh.db import Database
from mesh.measures import Measure, Measures
from tests.mesh.toy import SCHEMA


@pytest.fixture
async def db(database):
    """A schema that counts how often it is measured."""
    async with Database(database("channel", folder=SCHEMA), connections_max=1) as opened:
        await opened.rows("CREATE SEQUENCE looks")
        yield opened


def looks(measures):
    return {family.name: [one.value for one in family.samples] for family in measures.collect()}


async def test_what_took_long_rests_long(db):
    """It is due at every look by its own pace, and is taken once: it took a while."""
    slow = Measure(
        name="looks",
        help="How often it was taken.",
        sql="SELECT nextval('looks') AS value FROM pg_sleep(0.05)",
        seconds=0.0,
    )
    measures = Measures(db, Clock(), (slow,))

    await measures.look()
    await measures.look()
    assert looks(measures)["looks"] == [1.0]
