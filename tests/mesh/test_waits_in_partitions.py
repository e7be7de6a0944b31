"""A statement that waits for the lock of a row in a partition sees the row as it is then."""

import asyncio
from dataclasses import make_dataclass

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from mesh.db import Database, Statement
from tests.waiting import eventually

TABLE = """
CREATE TABLE thing (number text COLLATE "C" PRIMARY KEY, app_id text NOT NULL, state text NOT NULL)
    PARTITION BY RANGE (number);
CREATE TABLE thing_2026 PARTITION OF thing FOR VALUES FROM ('2026') TO ('2027');
CREATE TABLE thing_2027 PARTITION OF thing FOR VALUES FROM ('2027') TO ('2028');
CREATE TABLE thing_default PARTITION OF thing DEFAULT;
INSERT INTO thing VALUES ('2026TH0000000000000000001', 'mall', 'new');
"""
# The plan that busy tables get: the inputs outside, an index of each partition inside.
NESTED_LOOPS = "-c enable_hashjoin=off -c enable_mergejoin=off -c enable_seqscan=off"
FACTS = [f"fact_{place}" for place in range(16)]


NUMBER = "2026TH0000000000000000001"


def claim_of(*facts: str) -> object:
    """One row to hold, and numbers that travel with it."""
    names = [("number", str), ("app_id", str), *((name, int) for name in facts)]
    kind = make_dataclass("Claim", names, frozen=True, slots=True)
    return kind(NUMBER, "mall", *range(len(facts)))


def hold(*facts: str) -> Statement[object, str | None]:
    """A statement that holds a row, with inputs that carry `facts` beside."""
    return Statement(
        name="hold",
        columns={"number": "text", "app_id": "text"} | dict.fromkeys(facts, "bigint"),
        result=lambda row: row.state,
        sql="""
        WITH i AS ({input}),
        held AS MATERIALIZED (
            SELECT i.ord, t.state
            FROM i JOIN thing t ON (t.number, t.app_id) = (i.number, i.app_id)
            ORDER BY t.number FOR NO KEY UPDATE OF t
        )
        SELECT i.ord, held.state FROM i LEFT JOIN held USING (ord)
        """,
    )


@pytest.mark.parametrize("facts", [(), FACTS], ids=["narrow", "wide"])
async def test_who_waited_for_a_lock_sees_what_the_holder_wrote(database, facts):
    """However wide the inputs are. PostgreSQL 18 by itself finds no row, or garbage."""
    dsn = database("trade", migrated=False)
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute(TABLE)
    async with (
        Database(make_conninfo(dsn, options=NESTED_LOOPS)) as db,
        await psycopg.AsyncConnection.connect(dsn) as holder,
        await psycopg.AsyncConnection.connect(dsn, autocommit=True) as watcher,
    ):
        await holder.execute("UPDATE thing SET state = 'paying'")
        asked = asyncio.create_task(db.ask(hold(*facts), claim_of(*facts)))

        async def waits():
            found = await watcher.execute(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            return await found.fetchone() == (1,)

        await eventually(waits)
        await holder.commit()

        assert await asked == "paying"
