"""What transfers by number are compared with: the SQL function alone, and a mere COPY."""

from __future__ import annotations

import itertools
import random
import uuid
from collections import defaultdict
from collections.abc import Iterator, Sequence
from time import monotonic
from typing import Any

import psycopg

from bench.ledger_load import Calls, Ids, LedgerShape, Line

FREE = 1024  # As the service marks them: without a voucher.
_POST = """
SELECT o_result FROM post(
    %(book)s::integer, %(id)s::uuid[], %(debit)s::bigint[], %(credit)s::bigint[],
    %(amount)s::bigint[], %(code)s::smallint[], %(flags)s::smallint[], %(ref)s::uuid[])
"""
_FLOOR = """
CREATE TABLE bench_journal (LIKE transfer);
ALTER TABLE bench_journal ADD PRIMARY KEY (id, book_id);
CREATE INDEX ON bench_journal (book_id, seq);
CREATE TABLE bench_balance (LIKE balance) WITH (fillfactor = 40);
ALTER TABLE bench_balance ADD PRIMARY KEY (book_id, account_id);
INSERT INTO bench_balance SELECT b.account_id, b.debit, b.credit, b.debit_pending,
    b.credit_pending, b.floor, b.cap, b.last_seq, b.book_id, b.normal, b.status, b.currency_code
FROM balance b WHERE b.book_id = %(book)s
"""
_COPY = """
COPY bench_journal (seq, debit_id, credit_id, amount, debit_after, credit_after, debit_prev,
                    credit_prev, id, txn, ref, book_id, code, flags) FROM STDIN
"""
_UPDATE = """
UPDATE bench_balance b SET debit = b.debit + m.debit, credit = b.credit + m.credit,
       last_seq = m.seq
FROM unnest(%(ids)s::bigint[], %(debits)s::bigint[], %(credits)s::bigint[], %(seqs)s::bigint[])
     AS m (id, debit, credit, seq)
WHERE b.book_id = %(book)s AND b.account_id = m.id
"""
_DROP = "DROP TABLE bench_journal, bench_balance"


async def sql_function(dsn: str, line: Line, shape: LedgerShape, *, seconds: float) -> float:
    """Return the transfers a second of `post` alone, on one connection, arrays made before.

    The clock runs only while the database works.
    """
    calls = Calls(line, shape, Ids())
    async with await _connect(dsn) as connection:
        posted, used = 0, 0.0
        await post_call(connection, calls)  # Plans.
        while used < seconds:
            arrays = _arrays(calls)
            began = monotonic()
            posted += await _post(connection, arrays)
            used += monotonic() - began
        return posted / used


async def post_call(connection: psycopg.AsyncConnection[Any], calls: Calls) -> int:
    """Post one call by the SQL function; return how many transfers were posted."""
    return await _post(connection, _arrays(calls))


async def copy_floor(dsn: str, line: Line, shape: LedgerShape, *, seconds: float) -> float:
    """Return the transfers a second of a COPY into an identical journal, and one UPDATE of the
    balances, a commit a batch: what is left when nothing is checked or decided."""
    async with await _connect(dsn) as connection:
        for statement in _FLOOR.split(";"):
            params = {"book": line.book_id} if "%(book)s" in statement else None
            await connection.execute(statement, params)
        try:
            made = _evaluated(line, shape)
            copied, used = 0, 0.0
            while used < seconds:
                rows, moved = next(made)
                began = monotonic()
                async with connection.transaction():
                    async with connection.cursor().copy(_COPY) as copy:
                        await copy.write(rows)
                    await connection.execute(_UPDATE, moved, prepare=True)
                used += monotonic() - began
                copied += shape.batch
            return copied / used
        finally:
            await connection.execute(_DROP)


def _evaluated(line: Line, shape: LedgerShape) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield batches as if they had been evaluated: rows of the journal, sums by account."""
    ids, dice = Ids(), random.Random(1)  # noqa: S311 it only spreads load
    for block in itertools.count(1):
        rows, sums = [], defaultdict[int, list[int]](lambda: [0, 0, 0])
        for nth, number in enumerate(ids.take(shape.batch), start=1):
            debit, credit = dice.sample(line.accounts, 2)
            amount, seq = dice.randint(1, 1_000), block * 8192 + nth
            sums[debit][0] += amount
            sums[credit][1] += amount
            sums[debit][2] = sums[credit][2] = seq
            rows.append(
                f"{seq}\t{debit}\t{credit}\t{amount}\t{-amount}\t{amount}\t{seq - 1}\t{seq - 1}"
                f"\t{uuid.UUID(bytes=number)}\t\\N\t\\N\t{line.book_id}\t1\t0\n"
            )
        columns: list[Sequence[int]] = list(zip(*sums.values(), strict=True))
        yield (
            "".join(rows),
            {
                "book": line.book_id,
                "ids": list(sums),
                "debits": list(columns[0]),
                "credits": list(columns[1]),
                "seqs": list(columns[2]),
            },
        )


def _arrays(calls: Calls) -> dict[str, Any]:
    made = calls.next().transfers
    refs = [one.ref.hex() or "NULL" for one in made]
    return {
        "book": calls.line.book_id,
        "id": _array(one.id.hex() for one in made),
        "debit": _array(one.debit_account_id for one in made),
        "credit": _array(one.credit_account_id for one in made),
        "amount": _array(one.amount_minor for one in made),
        "code": _array(one.code for one in made),
        "flags": _array(one.flags | FREE for one in made),
        "ref": _array(refs) if any(one.ref for one in made) else None,
    }


def _array(values: Any) -> str:
    return "{" + ",".join(map(str, values)) + "}"


async def _post(connection: psycopg.AsyncConnection[Any], arrays: dict[str, Any]) -> int:
    cursor = await connection.execute(_POST, arrays, prepare=True)
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0].count(0))


async def _connect(dsn: str) -> psycopg.AsyncConnection[Any]:
    connection = await psycopg.AsyncConnection.connect(dsn, autocommit=True)
    await connection.execute("SET plan_cache_mode = force_generic_plan")
    await connection.execute("SET enable_partition_pruning = off")
    return connection
