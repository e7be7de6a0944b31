"""Every SQL statement of this service, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from mesh.db import Database, Row, Statement
from settlement.model import ClearingItem, Entry, Kind
from settlement.states import State


async def put_item(db: Database, item: ClearingItem, *, state: State, version: int) -> bool:
    """Write the item as it is at the source's `version`; False when what is there is newer.

    Of an item that is there only the state changes: its amounts are those of the source.
    """
    new = _New(
        source_no=item.source_no,
        kind=item.kind,
        app_id=item.app_id,
        trace_no=item.trace_no,
        trade_no=item.trade_no,
        merchant_id=item.merchant_id,
        currency_code=item.currency_code,
        gross_minor=item.gross_minor,
        fee_minor=item.fee_minor,
        cost_minor=item.cost_minor,
        net_minor=item.net_minor,
        state=state,
        source_version=version,
    )
    return await db.ask(_PUT_ITEM, new)


async def list_items(db: Database, *, app_id: str, trace_no: str) -> list[Entry]:
    """Return the clearing items of a trace, oldest first."""
    rows = await db.rows(_LIST_ITEMS, app_id=app_id, trace_no=trace_no)
    return [_entry(row) for row in rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class _New:
    source_no: str
    kind: Kind
    app_id: str
    trace_no: str
    trade_no: str
    merchant_id: str
    currency_code: str
    gross_minor: int
    fee_minor: int
    cost_minor: int
    net_minor: int
    state: State
    source_version: int


def _entry(row: Row) -> Entry:
    return Entry(
        source_no=row.source_no,
        kind=Kind(row.kind),
        merchant_id=row.merchant_id,
        currency_code=row.currency_code,
        gross_minor=row.gross_minor,
        fee_minor=row.fee_minor,
        cost_minor=row.cost_minor,
        net_minor=row.net_minor,
        state=State(row.state),
        create_time=row.create_time,
        update_time=row.update_time,
    )


_OWNED = """source_no, kind, app_id, trace_no, trade_no, merchant_id, currency_code, gross_minor,
    fee_minor, cost_minor, net_minor, state, source_version"""

# Words about one source may come in any order: the newest says where its item is.
_PUT_ITEM: Statement[_New, bool] = Statement(
    name="put_item",
    columns={
        "source_no": "text",
        "kind": "text",
        "app_id": "text",
        "trace_no": "text",
        "trade_no": "text",
        "merchant_id": "text",
        "currency_code": "text",
        "gross_minor": "bigint",
        "fee_minor": "bigint",
        "cost_minor": "bigint",
        "net_minor": "bigint",
        "state": "text",
        "source_version": "bigint",
    },
    keys_of=lambda new: [new.source_no],
    result=lambda row: bool(row.added),
    sql=f"""
    WITH i AS ({{input}}),
    added AS (
        INSERT INTO clearing_item AS c ({_OWNED})
        SELECT {_OWNED} FROM i ORDER BY source_no
        ON CONFLICT (source_no) DO UPDATE
        SET state = excluded.state, source_version = excluded.source_version,
            version = c.version + 1, update_time = business_now()
        WHERE c.source_version < excluded.source_version AND c.app_id = excluded.app_id
        RETURNING source_no
    )
    SELECT i.ord, added.source_no IS NOT NULL AS added FROM i LEFT JOIN added USING (source_no)
    """,
)

_LIST_ITEMS = """
SELECT source_no, kind, merchant_id, currency_code, gross_minor, fee_minor, cost_minor,
       net_minor, state, create_time, update_time
FROM clearing_item WHERE trace_no = %(trace_no)s AND app_id = %(app_id)s
ORDER BY create_time, source_no
"""
