"""Many earlier orders, so that a run shows what they cost: nothing, it should be.

One payment is made through the contracts. Its rows are then multiplied in the database, each
copy under numbers of its own, with every index that real ones have. Balances stay as they are,
so books and counts of the run are not touched; the journal of a filled bench proves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

CHUNK = 50_000
FILL_MAX = 9_999_999  # Seven digits of a number count the copies.
_NODE = "ZZZ"  # Of no process: nodes are leased from the first ones.
_TAIL = 16  # Digits of a number after date and kind: time, node, count.

# Where a payment has its rows, and which they are.
_TABLES: Mapping[str, LiteralString] = {
    "trade.trade": "trade_no = %(trade)s",
    "trade.trade_key": "trade_no = %(trade)s",
    "trade.pay_key": "trade_no = %(trade)s",
    "payment.payment": "payment_no = %(payment)s",
    "payment.winner": "payment_no = %(payment)s",
    "channel.attempt": "trace_no = %(trace)s",
    "channel.attempt_leg": "leg_no LIKE %(payment)s || '-%%'",
    "risk.decision": "payment_no = %(payment)s",
    "settlement.clearing_item": "source_no = %(payment)s",
    "ledger.voucher": "trace_no = %(trace)s",
    "ledger.transfer": "txn IN (SELECT txn FROM ledger.voucher WHERE trace_no = %(trace)s)",
}
_MODEL = """
SELECT t.trade_no AS trade, t.payment_no AS payment, t.order_no AS order, t.trace_no AS trace,
       a.attempt_no AS attempt
FROM trade.trade t JOIN channel.attempt a USING (trace_no) WHERE t.order_no = %(order)s
"""
_COLUMNS = """
SELECT column_name AS name, data_type AS type FROM information_schema.columns
WHERE (table_schema, table_name) = (%(schema)s, %(table)s)
  AND is_identity = 'NO' AND is_generated = 'NEVER' ORDER BY ordinal_position
"""


async def fill(admin_dsn: str, *, order_no: str, copies: int) -> dict[str, int]:
    """Multiply the payment of `order_no`; return how many rows each table has then.

    The payment must be booked and cleared before.
    """
    assert 0 < copies <= FILL_MAX, copies
    connection = psycopg.AsyncConnection.connect(admin_dsn, autocommit=True, row_factory=dict_row)
    async with await connection as admin:
        cursor = await admin.execute(_MODEL, {"order": order_no})
        model = await cursor.fetchone()
        assert model is not None, f"{order_no} is not there"
        for table, where in _TABLES.items():
            await _multiply(admin, table, where, model, copies)
        await admin.execute("VACUUM (ANALYZE)")
        await admin.execute("CHECKPOINT")
        return {table: await _count(admin, table) for table in _TABLES}


async def _multiply(
    admin: psycopg.AsyncConnection[dict[str, Any]],
    table: str,
    where: LiteralString,
    model: Mapping[str, str],
    copies: int,
) -> None:
    """Insert the copies of the model's rows of one table."""
    schema, name = table.split(".")
    cursor = await admin.execute(_COLUMNS, {"schema": schema, "table": name})
    columns = await cursor.fetchall()
    if not columns:
        return  # A table of another version of the services.
    values = [_value(column["name"], column["type"], model) for column in columns]
    statement = sql.SQL(
        "INSERT INTO {into} ({names}) SELECT {values} FROM {into} m,"
        " generate_series(%(first)s::bigint, %(last)s::bigint) k WHERE {where}"
    ).format(
        into=sql.Identifier(schema, name),
        names=sql.SQL(", ").join(sql.Identifier(column["name"]) for column in columns),
        values=sql.SQL(", ").join(values),
        where=sql.SQL(where),
    )
    for first in range(1, copies + 1, CHUNK):
        span = {"first": first, "last": min(first + CHUNK - 1, copies)}
        await admin.execute(statement, dict(model) | span)


def _value(name: str, kind: str, model: Mapping[str, str]) -> sql.Composable:
    """Return the expression of a column in copy `k`: every number in it is another one."""
    own: sql.Composable = sql.SQL("m.") + sql.Identifier(name)
    if kind == "uuid":  # The time in front stays, so it stays in its partition.
        tail = sql.SQL("left({}::text, 24) || lpad(to_hex(k), 12, '0')").format(own)
        return sql.SQL("({})::uuid").format(tail)
    if kind not in ("text", "character varying"):
        return own
    for number in _tails(model):
        new = sql.SQL("{} || lpad(k::text, 7, '0')").format(sql.Literal(number[:6] + _NODE))
        own = sql.SQL("replace({}, {}, {})").format(own, sql.Literal(number), new)
    order = sql.Literal(model["order"])
    return sql.SQL("replace({}, {}, {} || '-' || k)").format(own, order, order)


def _tails(model: Mapping[str, str]) -> Sequence[str]:
    return [model[name][-_TAIL:] for name in ("trade", "payment", "attempt")]


async def _count(admin: psycopg.AsyncConnection[dict[str, Any]], table: str) -> int:
    name = sql.Identifier(*table.split("."))
    query = sql.SQL("SELECT count(*) AS rows FROM {}").format(name)
    row = await (await admin.execute(query)).fetchone()
    assert row is not None
    return int(row["rows"])
