"""What is or was on hold on an account, in pages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import IntEnum
from uuid import UUID

from ledger.model import Account
from mesh.db import Database, Row

_SCAN_MAX = 10_000  # Holds that one page looks at, on each side of the account.


class HoldState(IntEnum):
    """Where a hold is in its life, as the database numbers it."""

    OPEN = 0
    CAPTURED = 1
    RELEASED = 2
    EXPIRED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldView:
    """A hold with both accounts; amounts in minor units. `expire_time` is None for never.

    Of a hold without a voucher, `template`, `source_no` and `trace_no` are empty.
    """

    id: UUID
    debit: Account
    credit: Account
    amount_minor: int
    remaining_minor: int
    state: HoldState
    expire_time: datetime | None
    template: str
    source_no: str
    trace_no: str
    acct_date: date
    create_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """When the entry of a hold was booked, and what for."""

    template: str
    source_no: str
    trace_no: str
    acct_date: date
    create_time: datetime


Origins = Callable[[Sequence[UUID]], Awaitable[Mapping[UUID, Origin]]]


async def page_of_holds(
    db: Database,
    *,
    book_id: int,
    account_id: int,
    states: Sequence[HoldState],
    before: UUID | None,
    size: int,
    filed: Origins,
) -> tuple[Sequence[HoldView], UUID | None]:
    """Return up to `size` holds that are older than `before`, the newest first, and the one
    behind which the next page goes on, None when there is nothing more.

    However rare the states, a page looks at some holds only; it may be short and still lead on.
    Of holds whose entries are not in the database any more `filed` is asked.
    """
    rows = await db.rows(
        _PAGE,
        book_id=book_id,
        account_id=account_id,
        states=[state.value for state in states] or [state.value for state in HoldState],
        before=before,
        size=size + 1,
        scan=_SCAN_MAX,
    )
    edge = rows[0].edge if rows else None  # Behind it nothing was looked at.
    found = [row for row in rows if row.id is not None]
    if len(found) > size:
        found = found[:size]
        edge = found[-1].id
    gone = [row.id for row in found if row.acct_date is None]
    origins = await filed(gone) if gone else {}
    return [_hold(row, origins.get(row.id, row)) for row in found], edge


def _hold(row: Row, origin: Origin | Row) -> HoldView:
    return HoldView(
        id=row.id,
        debit=Account.of(row.debit),
        credit=Account.of(row.credit),
        amount_minor=row.amount,
        remaining_minor=row.remaining,
        state=HoldState(row.state),
        expire_time=row.expire_time,
        template=origin.template,
        source_no=origin.source_no,
        trace_no=origin.trace_no,
        acct_date=origin.acct_date,
        create_time=origin.create_time,
    )


# An account is on one side of a hold or on the other. When a side has more than was looked at,
# only what lies before the later of both edges is sure to be all there is. A hold stays here for
# ever, its entry and the voucher of it do not.
_PAGE = """
WITH debits AS MATERIALIZED (
    SELECT id, state FROM hold
    WHERE debit_id = %(account_id)s::bigint AND id < coalesce(
        %(before)s::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
    ORDER BY id DESC LIMIT %(scan)s::integer
),
credits AS MATERIALIZED (
    SELECT id, state FROM hold
    WHERE credit_id = %(account_id)s::bigint AND id < coalesce(
        %(before)s::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
    ORDER BY id DESC LIMIT %(scan)s::integer
),
edge AS MATERIALIZED (
    SELECT (SELECT id FROM (
        (SELECT id FROM debits ORDER BY id DESC OFFSET %(scan)s::integer - 1 LIMIT 1)
        UNION ALL
        (SELECT id FROM credits ORDER BY id DESC OFFSET %(scan)s::integer - 1 LIMIT 1)
    ) x ORDER BY id DESC LIMIT 1) AS id
),
wanted AS MATERIALIZED (
    SELECT h.id FROM (SELECT id, state FROM debits UNION ALL SELECT id, state FROM credits) h
    CROSS JOIN edge e
    WHERE h.state = ANY (%(states)s::smallint[]) AND (e.id IS NULL OR h.id >= e.id)
    ORDER BY h.id DESC LIMIT %(size)s::integer
),
page AS (
    SELECT h.id, d.name AS debit, c.name AS credit, h.amount, h.remaining, h.state,
           CASE WHEN h.expire_time <> 'infinity' THEN h.expire_time END AS expire_time,
           coalesce(v.template, '') AS template, coalesce(v.source_no, '') AS source_no,
           coalesce(v.trace_no, '') AS trace_no, b.acct_date, b.create_time
    FROM wanted w
    CROSS JOIN LATERAL (
        SELECT x.id, x.debit_id, x.credit_id, x.amount, x.remaining, x.state, x.expire_time
        FROM hold x WHERE (x.book_id, x.id) = (%(book_id)s::integer, w.id) OFFSET 0
    ) h
    LEFT JOIN LATERAL (
        SELECT x.seq, x.txn, x.flags FROM transfer x
        WHERE (x.id, x.book_id) = (w.id, %(book_id)s::integer) OFFSET 0
    ) t ON true
    JOIN account d ON d.account_id = h.debit_id
    JOIN account c ON c.account_id = h.credit_id
    LEFT JOIN block b ON (b.book_id, b.block_no) = (%(book_id)s::integer, t.seq / 8192)
    LEFT JOIN LATERAL (
        SELECT x.template, x.source_no, x.trace_no FROM voucher x
        WHERE (x.txn, x.book_id) = (t.txn, %(book_id)s::integer) AND t.flags & 1024 = 0 OFFSET 0
    ) v ON true
)
SELECT e.id AS edge, p.id, p.debit, p.credit, p.amount, p.remaining, p.state, p.expire_time,
       p.template, p.source_no, p.trace_no, p.acct_date, p.create_time
FROM edge e LEFT JOIN page p ON true
ORDER BY p.id DESC
"""
