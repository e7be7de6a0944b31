"""Statements over many rows against a real PostgreSQL: who gets which answer, whatever breaks."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

import psycopg
import pytest

from mesh.batch import NotExecuted, Rejected, Unknown
from mesh.db import Database, Statement
from mesh.sql import move
from tests.waiting import eventually

TABLE = """
CREATE FUNCTION business_now() RETURNS timestamptz LANGUAGE sql STABLE AS 'SELECT now()';
CREATE TABLE outbox (outbox_id bigint GENERATED ALWAYS AS IDENTITY, events bytea NOT NULL);
CREATE TABLE thing (
    number text PRIMARY KEY, app_id text NOT NULL, state text NOT NULL DEFAULT 'new',
    amount bigint NOT NULL DEFAULT 0 CHECK (amount >= 0), note bytea, at timestamptz,
    version bigint NOT NULL DEFAULT 1, update_time timestamptz
);
"""


class Colour(StrEnum):
    """A value of a closed set."""

    RED = "red"


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """One row to write."""

    number: str
    amount: int = 0
    app_id: str = "mall"
    state: Colour = Colour.RED
    note: bytes = b""
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One row to change."""

    number: str
    state: str
    version: int = 1
    app_id: str = "mall"
    event: bytes = b"e"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One amount to add, locking the row."""

    number: str
    by: int


ADD = Statement(
    name="add",
    columns={
        "number": "text", "app_id": "text", "state": "text", "amount": "bigint",
        "note": "bytea", "at": "timestamptz",
    },
    keys_of=lambda thing: [thing.number],
    result=lambda row: row.number,
    sql="""
    WITH i AS ({input}),
    written AS (
        INSERT INTO thing (number, app_id, state, amount, note, at)
        SELECT number, app_id, state, amount, note, at FROM i ORDER BY number RETURNING number
    )
    SELECT i.ord, written.number FROM i JOIN written USING (number)
    """,
)  # fmt: skip

MOVE = Statement(
    name="move",
    columns={
        "number": "text", "app_id": "text", "state": "text", "version": "bigint", "event": "bytea"
    },
    keys_of=lambda item: [item.number],
    result=lambda row: row.moved,
    sql=move("thing", "number", sets=["state"]),
)  # fmt: skip

CHANGE = Statement(
    name="change",
    columns={"number": "text", "by": "bigint"},
    keys_of=lambda change: [change.number],
    result=lambda row: row.amount,
    sql="""
    WITH i AS ({input}),
    changed AS (
        UPDATE thing t SET amount = amount + i.by FROM i WHERE t.number = i.number
        RETURNING i.ord, t.amount
    )
    SELECT i.ord, changed.amount FROM i LEFT JOIN changed USING (ord)
    """,
)


ECHO = Statement(
    name="echo",
    columns={"number": "text"},
    result=lambda row: row.number,
    sql="WITH i AS ({input}) SELECT ord, number FROM i ORDER BY ord DESC",
)


@pytest.fixture
async def dsn(database):
    """A database with one table."""
    dsn = database("trade", migrated=False)
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        await connection.execute(TABLE)
    return dsn


@pytest.fixture
async def db(dsn):
    """One pool with its own coalescers."""
    async with Database(dsn) as opened:
        yield opened


async def asked(db, statement, *items):
    calls = [db.ask(statement, item) for item in items]
    return await asyncio.gather(*calls, return_exceptions=True)


async def test_every_type_arrives_as_it_was(db):
    """Text with every kind of quote, 64 bits, bytes, times, members of a set."""
    at = datetime(2026, 2, 28, 23, 59, 59, 123456, tzinfo=UTC)
    nasty = "'; DROP TABLE thing;-- \" \\ {input} %s %(x)s 通宝"
    thing = Thing(number=nasty, amount=2**63 - 1, note=bytes(range(256)), at=at)

    assert await db.ask(ADD, thing) == nasty

    [row] = await db.rows("SELECT number, amount, state, note, at FROM thing")
    assert row == (nasty, 2**63 - 1, "red", bytes(range(256)), at)


async def test_answers_are_found_by_their_ordinal(db):
    """The database may answer in any order; here it answers backwards."""
    numbers = [f"n{place}" for place in range(50)]

    answers = await asked(db, ECHO, *[Thing(number=number) for number in numbers])

    assert answers == numbers
    assert db.sizes()["echo"] == {50: 1}


async def test_one_bad_input_of_many_fails_alone(db):
    """A broken constraint is found by halving; its neighbours are written."""
    things = [Thing(number=f"n{place}", amount=-1 if place == 13 else 1) for place in range(64)]

    answers = await asked(db, ADD, *things)

    failed = [place for place, answer in enumerate(answers) if isinstance(answer, Rejected)]
    assert failed == [13]
    [row] = await db.rows("SELECT count(*) AS rows FROM thing")
    assert row.rows == 63


async def test_changes_of_one_row_all_count(db):
    """They never share a statement, which would apply one and lose the others."""
    await db.ask(ADD, Thing(number="n"))

    answers = await asked(db, CHANGE, *[Change(number="n", by=1) for _ in range(12)])

    assert answers == list(range(1, 13))
    assert db.sizes()["change"] == {1: 12}


async def test_of_two_moves_from_one_version_one_passes(dsn, db):
    """Two replicas wait for the same row; the second sees that it was late, and tells nobody."""
    await db.ask(ADD, Thing(number="n"))
    async with Database(dsn) as other:
        async with await psycopg.AsyncConnection.connect(dsn) as holder:
            await holder.execute("SELECT 1 FROM thing WHERE number = 'n' FOR UPDATE")
            moves = [Move(number="n", state="a"), Move(number="n", state="b")]
            calls = [
                asyncio.create_task(one.ask(MOVE, item))
                for one, item in zip((db, other), moves, strict=True)
            ]
            await eventually(lambda: waiting(dsn, 2))
        moved = await asyncio.gather(*calls)

    assert sorted(moved) == [False, True]
    [row] = await db.rows("SELECT state, version FROM thing")
    assert row == (moves[moved.index(True)].state, 2)
    [row] = await db.rows("SELECT count(*) AS rows FROM outbox")
    assert row.rows == 1


async def test_a_move_of_another_app_does_not_happen(db):
    """What is not yours does not exist, and no event is told."""
    await db.ask(ADD, Thing(number="n", app_id="shop"))

    assert await db.ask(MOVE, Move(number="n", state="a")) is False

    assert await db.rows("SELECT events FROM outbox") == []


async def test_one_statement_publishes_one_row(db):
    """The events of what moved, in the order of the inputs; of what did not, nothing."""
    await asked(db, ADD, *[Thing(number=number) for number in "cab"])
    moves = [
        Move(number=number, state="x", version=2 if number == "a" else 1, event=number.encode())
        for number in "cab"
    ]

    assert await asked(db, MOVE, *moves) == [True, False, True]

    [row] = await db.rows("SELECT events FROM outbox")
    assert row.events == b"cb"


async def test_a_connection_lost_in_flight_is_unknown(dsn, db):
    """Nobody can say whether it committed; afterwards the pool works again."""
    await db.ask(ADD, Thing(number="n"))
    async with await psycopg.AsyncConnection.connect(dsn) as holder:
        await holder.execute("SELECT 1 FROM thing WHERE number = 'n' FOR UPDATE")
        call = asyncio.create_task(db.ask(CHANGE, Change(number="n", by=1)))
        await eventually(lambda: waiting(dsn, 1))
        await holder.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        with pytest.raises(Unknown):
            await call

    assert await db.ask(CHANGE, Change(number="n", by=5)) == 5


async def test_a_lock_that_never_comes_is_not_executed(dsn, db):
    """The time-out undid the statement: it may be sent again."""
    await db.ask(ADD, Thing(number="n"))
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as admin:
        await admin.execute("ALTER ROLE CURRENT_USER SET lock_timeout = '50ms'")
    try:
        async with Database(dsn) as impatient, await psycopg.AsyncConnection.connect(dsn) as holder:
            await holder.execute("SELECT 1 FROM thing WHERE number = 'n' FOR UPDATE")
            with pytest.raises(NotExecuted):
                await impatient.ask(CHANGE, Change(number="n", by=1))
    finally:
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as admin:
            await admin.execute("ALTER ROLE CURRENT_USER SET lock_timeout = '2s'")


async def test_a_deadlock_is_run_again(dsn, db):
    """Somebody else locks b then a; we lock a then b, lose, and try again until both are free."""
    await asked(db, ADD, Thing(number="a"), Thing(number="b"))
    async with await psycopg.AsyncConnection.connect(dsn) as other:
        await other.execute("UPDATE thing SET amount = 100 WHERE number = 'b'")
        calls = asyncio.create_task(
            asked(db, CHANGE, Change(number="a", by=1), Change(number="b", by=1))
        )
        await eventually(lambda: waiting(dsn, 1))
        # We have waited for longer, so it is we who notice and lose.
        await other.execute("UPDATE thing SET amount = 100 WHERE number = 'a'")
        await other.commit()
        answers = await calls

    assert answers == [101, 101]
    runs = db.sizes()["change"]
    assert set(runs) == {2}
    assert runs[2] >= 2  # Three where we had to wait for longer than we wait.


async def waiting(dsn, count):
    """Return whether `count` backends of this database wait for a lock."""
    sql = """
    SELECT count(*) FROM pg_stat_activity
    WHERE wait_event_type = 'Lock' AND datname = current_database()
    """
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as watcher:
        [[found]] = await (await watcher.execute(sql)).fetchall()
        return found >= count
