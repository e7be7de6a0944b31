"""The one way to reach PostgreSQL: statements over many rows, each its own transaction."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, TypeVar

import orjson
import psycopg
from psycopg.abc import QueryNoTemplate
from psycopg.rows import namedtuple_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from mesh.batch import (
    FLIGHTS_MAX,
    ROWS_MAX,
    WEIGHT_MAX,
    Coalescer,
    NotExecuted,
    Rejected,
    Undone,
    Unknown,
)
from mesh.context import begin
from mesh.heard import Heard

Row = Any
In = TypeVar("In")
Out = TypeVar("Out")

_UNDONE = {"40001", "40P01"}  # Serialization failure, deadlock.
_REJECTED = {"22", "23", "P0"}  # Bad data, broken constraint, RAISE of a trigger.
# Refused before it began: lock or statement time-out undid it, no connection was to be had.
_NOT_EXECUTED = {"55P03", "57014", "53300", "57P03"}
_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'")
_POOL_WAIT_SECONDS = 5.0
_CHANGES = re.compile(r"\b(INSERT INTO|UPDATE|DELETE FROM|(post(_late)?|forbid)_chains?)\b(?! OF)")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Statement(Generic[In, Out]):
    """One SQL statement over any number of inputs, and how to speak with it.

    `sql` begins with `WITH i AS ({input})`: `i` holds one row per input, with `ord` and
    the `columns`, which are fields of the input (a dataclass) and their SQL types. It
    returns one row per input, `ord` among its columns. `keys_of` names the rows an input
    changes; an empty answer, for reads, excludes nobody. `weight_of` is the size in bytes
    of the event an input publishes, or whatever else `weight_max` bounds in one batch.
    """

    name: str
    sql: str
    columns: Mapping[str, str]
    result: Callable[[Row], Out]
    keys_of: Callable[[In], Iterable[Hashable]] = lambda _: ()
    weight_of: Callable[[In], int] = lambda _: 0
    weight_max: int = WEIGHT_MAX
    flights_max: int = FLIGHTS_MAX

    def text(self) -> str:
        """Return the SQL. It is the same for every batch size, so it is prepared once.

        The inputs travel as one JSON array: it costs less than an array per column on
        both sides, and the planner assumes 100 rows, not 10 (performance.md B).
        """
        names = ", ".join(self.columns)
        typed = ", ".join(f"{name} {kind}" for name, kind in self.columns.items())
        return self.sql.replace(
            "{input}",
            f"SELECT (n - 1)::integer AS ord, {names} FROM ROWS FROM"
            f" (json_to_recordset(%(items)s::json) AS ({typed}))"
            f" WITH ORDINALITY AS x ({names}, n)",
        )


class Database:
    """A pool of connections in autocommit: one statement is one transaction, always.

    There is no way to hold a transaction open across an await, on purpose: whoever needs
    several rows changed together writes one statement that changes them.
    """

    def __init__(
        self,
        dsn: str,
        *,
        connections_max: int = 6,
        rows_max: int = ROWS_MAX,
        flights_max: int = FLIGHTS_MAX,
    ) -> None:
        self._pool = AsyncConnectionPool(
            dsn,
            min_size=1,
            max_size=connections_max,
            timeout=_POOL_WAIT_SECONDS,
            kwargs={"autocommit": True, "row_factory": namedtuple_row},
            configure=_configure,
            open=False,
        )
        self._rows_max, self._flights_max = rows_max, flights_max
        self._coalescers: dict[str, Coalescer[Any, Any]] = {}
        self._names: dict[str, Statement[Any, Any]] = {}
        self._changing: set[str] = set()
        self.wrote_outbox = asyncio.Event()  # Wakes the relay of this process.
        self.heard = Heard()  # What neighbours said and is durable here.

    async def __aenter__(self) -> Database:
        try:
            await self._pool.open(wait=True)
        except PoolTimeout as error:
            raise NotExecuted(str(error)) from error
        except BaseException:
            await self._pool.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for coalescer in list(self._coalescers.values()):  # What still flies may ask for more.
            await coalescer.close()
        await self._pool.close()

    async def ask(self, statement: Statement[In, Out], item: In) -> Out:
        """Return the result of `statement` for `item`, sent with whatever else waits for it.

        Raises NotExecuted, Unknown, or Rejected; see `mesh.batch`.
        """
        coalescer = self._coalescers.get(statement.name)
        if coalescer is None:
            coalescer = self._coalescers[statement.name] = self._coalescer(statement)
        assert self._names[statement.name] is statement, f"two statements named {statement.name}"
        answer: Out = await coalescer.submit(item)
        if statement.name in self._changing:
            begin()
        return answer

    async def rows(self, sql: str, **params: object) -> list[Row]:
        """Return the rows of one uncoalesced statement. Not for the hot path.

        Raises NotExecuted, Unknown, Rejected, or Undone.
        """
        return await self._run(sql, params)

    def pool(self) -> Mapping[str, int]:
        """Return how the pool of connections is used, in the words of psycopg_pool."""
        return self._pool.get_stats()

    def sizes(self) -> dict[str, Counter[int]]:
        """Return by statement how often it ran with how many rows."""
        return {name: coalescer.sizes for name, coalescer in self._coalescers.items()}

    def _coalescer(self, statement: Statement[In, Out]) -> Coalescer[In, Out]:
        text = statement.text()
        publishes = "outbox" in text
        self._names[statement.name] = statement
        if _CHANGES.search(text):
            self._changing.add(statement.name)

        async def flush(items: Sequence[In]) -> list[tuple[int, Out]]:
            try:
                inputs = as_json(items)
            except TypeError as error:  # Such as half a surrogate pair: it was never sent.
                raise Rejected(str(error)) from error
            rows = await self._run(text, {"items": inputs})
            if publishes:
                self.wrote_outbox.set()
            return [(row.ord, statement.result(row)) for row in rows]

        return Coalescer(
            flush,
            keys_of=statement.keys_of,
            weight_of=statement.weight_of,
            weight_max=statement.weight_max,
            rows_max=self._rows_max,
            flights_max=min(statement.flights_max, self._flights_max),
        )

    async def _run(self, text: QueryNoTemplate, params: Mapping[str, object]) -> list[Row]:
        """Run one statement; say in the coalescer's words what went wrong."""
        try:
            async with self._pool.connection() as connection:
                cursor = await connection.execute(text, params, prepare=True)
                return await cursor.fetchall() if cursor.description else []
        except PoolTimeout as error:
            raise NotExecuted(str(error)) from error
        except psycopg.Error as error:
            # Not chained: what it says of the rows of a batch is of many callers.
            raise _kind_of(error)(_told(error)) from None


async def _configure(connection: psycopg.AsyncConnection[Any]) -> None:
    """Plan each statement once: planning one over partitions costs more than running it.

    And prune no partitions while it runs: PostgreSQL 18 (18.4 too, 16 not) shares what prunes
    between a plan and its recheck of a row it waited for, and then reads freed memory. Seen: a
    trade that was not there, "compressed pglz data is corrupt". An index of each year is asked.
    """
    await connection.execute("SET plan_cache_mode = force_generic_plan")
    await connection.execute("SET enable_partition_pruning = off")


def as_json(items: Sequence[object]) -> str:
    """Return dataclasses as the JSON that `json_to_recordset` reads; bytes become bytea."""
    return orjson.dumps(items, default=_bytea).decode()


def _bytea(value: object) -> str:
    if isinstance(value, bytes):
        return "\\x" + value.hex()
    raise TypeError(f"no JSON for {type(value).__name__}")


def _told(error: psycopg.Error) -> str:
    """Return what went wrong without any value: those may be a person's data."""
    said = error.diag.message_primary if error.sqlstate else str(error)
    names = (error.sqlstate, error.diag.table_name, error.diag.constraint_name)
    told = " ".join(name for name in names if name)
    return f"{told}: {_QUOTED.sub('…', said or type(error).__name__)}"


def _kind_of(error: psycopg.Error) -> type[Exception]:
    state = error.sqlstate or ""  # Empty when the connection was lost: nobody can say.
    if state in _UNDONE:
        return Undone
    if state in _NOT_EXECUTED:
        return NotExecuted
    return Rejected if state[:2] in _REJECTED else Unknown
