"""Money in doubt 挂账, item by item: what parked it, what took it out again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from ledger.model import AccountKind
from mesh.db import Database, Row

# Where money in doubt is parked: few accounts of many, as the planner sees where they are named.
_IN_DOUBT = "a.kind IN ('suspense', 'duplicate', 'surplus', 'shortage')"


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A voucher that took out `amount_minor` of an item."""

    template: str
    source_no: str
    amount_minor: int
    book_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """What one source number parked on one account; amounts in minor units.

    `seq` is the place of its first entry in the journal. `open_minor` is `parked_minor` less
    `taken_minor`, and below zero when more was taken out than the trace explains.
    """

    account_id: int
    seq: int
    kind: AccountKind
    currency_code: str
    source_no: str
    trace_no: str
    template: str
    channel_code: str
    parked_minor: int
    taken_minor: int
    open_minor: int
    book_time: datetime
    acct_date: date
    age_days: int
    releases: Sequence[Release]


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemTotal:
    """What stands on an account, and what is open of all its items, in minor units."""

    kind: AccountKind
    currency_code: str
    balance_minor: int
    open_minor: int
    open_items: int

    @property
    def unexplained_minor(self) -> int:
        """Return what of the balance no item says; 0 unless the journal was tampered with."""
        return self.balance_minor - self.open_minor


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemsWanted:
    """Which items: of which kinds, in one currency or all (empty), how old, settled ones too."""

    kinds: Sequence[AccountKind]
    currency_code: str = ""
    min_age_days: int = 0
    include_settled: bool = False


async def unread(db: Database, book_id: int) -> Sequence[int]:
    """Return the accounts of a book on which something was booked since they were read."""
    rows = await db.rows(_UNREAD, book_id=book_id)
    return [row.account_id for row in rows]


async def read_on(db: Database, *, book_id: int, account_id: int, most: int) -> bool:
    """Read up to `most` more entries of an account; return whether there may be more."""
    [row] = await db.rows(_READ, book_id=book_id, account_id=account_id, most=most)
    return bool(row.more)


async def page_of_items(
    db: Database, *, book_id: int, wanted: ItemsWanted, after: tuple[int, int], size: int
) -> tuple[Sequence[Item], Sequence[ItemTotal]]:
    """Return up to `size` items behind the place `after` (seq, account), the oldest first, and
    the totals of all accounts that were asked for; one snapshot, as far as accounts were read.
    """
    rows = await db.rows(
        _SETTLED_TOO if wanted.include_settled else _OPEN,
        book_id=book_id,
        kinds=[kind.value for kind in wanted.kinds],
        currency_code=wanted.currency_code,
        min_age=wanted.min_age_days,
        seq=after[0],
        account_id=after[1],
        size=size,
    )
    totals = {row.account_id: _total(row) for row in rows}
    ranked = sorted(totals.values(), key=lambda one: (one.currency_code, one.kind))
    return [_item(row) for row in rows if row.seq is not None], ranked


def _total(row: Row) -> ItemTotal:
    return ItemTotal(
        kind=AccountKind(row.kind),
        currency_code=row.currency_code,
        balance_minor=row.balance,
        open_minor=row.all_open,
        open_items=row.open_items,
    )


def _item(row: Row) -> Item:
    releases = zip(row.by_templates, row.by_numbers, row.by_amounts, row.by_times, strict=True)
    return Item(
        account_id=row.account_id,
        seq=row.seq,
        kind=AccountKind(row.kind),
        currency_code=row.currency_code,
        source_no=row.source_no,
        trace_no=row.trace_no,
        template=row.template,
        channel_code=row.channel_code,
        parked_minor=row.parked,
        taken_minor=row.taken,
        open_minor=row.still_open,
        book_time=row.create_time,
        acct_date=row.acct_date,
        age_days=row.age,
        releases=[
            Release(template=template, source_no=source_no, amount_minor=amount, book_time=time)
            for template, source_no, amount, time in releases
        ],
    )


_UNREAD = f"""
SELECT b.account_id
FROM account a JOIN balance b USING (book_id, account_id)
LEFT JOIN suspense_read r USING (book_id, account_id)
WHERE a.book_id = %(book_id)s::integer AND {_IN_DOUBT}
  AND b.last_seq > coalesce(r.seq, 0)
ORDER BY b.account_id
"""

_READ = """
SELECT read_suspense(%(book_id)s::integer, %(account_id)s::bigint, %(most)s::integer) AS more
"""

# `late` is what was booked since accounts were read: their balances are told without it.
# Of a page's items all of their kin is looked up, to say by what they were released.
_ITEMS = """
WITH RECURSIVE wanted AS MATERIALIZED (
    SELECT a.account_id, a.kind, a.currency_code, b.normal, b.last_seq,
           b.normal * (b.credit - b.debit) AS balance, coalesce(r.seq, 0) AS read_seq,
           coalesce(r.open_minor, 0) AS open_minor, coalesce(r.open_items, 0) AS open_items
    FROM account a JOIN balance b USING (book_id, account_id)
    LEFT JOIN suspense_read r USING (book_id, account_id)
    WHERE a.book_id = %(book_id)s::integer AND {in_doubt} AND a.kind = ANY (%(kinds)s::text[])
      AND %(currency_code)s::text IN ('', a.currency_code)
),
late AS (
    SELECT account_id, normal, read_seq, last_seq AS prev, 0::bigint AS delta FROM wanted
    UNION ALL
    SELECT w.account_id, w.normal, w.read_seq,
           CASE WHEN t.is_debit THEN t.debit_prev ELSE t.credit_prev END,
           w.normal * CASE WHEN t.flags & 10 <> 0 THEN 0 WHEN t.is_debit THEN -t.amount
                           ELSE t.amount END
    FROM late w CROSS JOIN LATERAL (
        SELECT x.flags, x.amount, x.debit_prev, x.credit_prev, x.debit_id = w.account_id AS is_debit
        FROM transfer x WHERE (x.book_id, x.seq) = (%(book_id)s::integer, w.prev) OFFSET 0
    ) t
    WHERE w.prev > w.read_seq
),
page AS MATERIALIZED (
    SELECT i.account_id, i.seq, i.number, i.kin, b.create_time, b.acct_date,
           k.acct_date - b.acct_date AS age
    FROM wanted w
    CROSS JOIN LATERAL (
        SELECT x.account_id, x.seq, x.number, x.kin FROM suspense_item x
        WHERE (x.book_id, x.account_id) = (%(book_id)s::integer, w.account_id)
          AND ({listed}) AND x.seq >= %(seq)s::bigint
          AND (x.seq, x.account_id) > (%(seq)s::bigint, %(account_id)s::bigint)
        ORDER BY x.seq LIMIT %(size)s::integer
    ) i
    JOIN book k ON k.book_id = %(book_id)s::integer
    JOIN block b ON (b.book_id, b.block_no) = (%(book_id)s::integer, i.seq / 8192)
    WHERE k.acct_date - b.acct_date >= %(min_age)s::integer  -- What is behind is younger still.
    ORDER BY i.seq, i.account_id LIMIT %(size)s::integer
),
kin AS MATERIALIZED (
    SELECT account_id, array_agg(DISTINCT kin) AS kins FROM page GROUP BY account_id
),
item AS MATERIALIZED (
    SELECT g.account_id, n.* FROM kin g
    CROSS JOIN LATERAL suspense_numbers(%(book_id)s::integer, g.account_id, g.kins) n
),
moved AS MATERIALIZED (
    SELECT m.account_id, m.seq, m.delta, m.number, m.template, m.source_no, m.trace_no, m.channel
    FROM kin g
    JOIN suspense_move m ON (m.book_id, m.account_id) = (%(book_id)s::integer, g.account_id)
     AND m.kin = ANY (g.kins)
),
told AS MATERIALIZED (
    SELECT account_id, number, (array_agg(template ORDER BY seq))[1] AS template,
           (array_agg(source_no ORDER BY seq))[1] AS source_no,
           (array_agg(trace_no ORDER BY seq))[1] AS trace_no, max(channel) AS channel
    FROM moved GROUP BY account_id, number
),
listed AS MATERIALIZED (SELECT i.* FROM item i JOIN page p USING (account_id, number)),
part AS MATERIALIZED (
    SELECT i.account_id, i.number, m.seq, -m.delta AS amount
    FROM listed i JOIN moved m USING (account_id, number) WHERE i.net >= 0 AND m.delta < 0
    UNION ALL
    SELECT account_id, i.number, o.took_seq,
           (least(i.upto, o.upto) - greatest(i.upto - i.net, o.upto + o.net))::bigint
    FROM listed i JOIN item o USING (account_id, kin)
    WHERE i.net > 0 AND o.net < 0
      AND least(i.upto, o.upto) > greatest(i.upto - i.net, o.upto + o.net)
    UNION ALL
    SELECT account_id, number, took_seq, taken FROM listed WHERE net < 0 AND taken > 0
),
released AS MATERIALIZED (
    SELECT x.account_id, x.number, array_agg(m.template ORDER BY x.seq) AS templates,
           array_agg(m.source_no ORDER BY x.seq) AS numbers,
           array_agg(x.amount ORDER BY x.seq) AS amounts,
           array_agg(b.create_time ORDER BY x.seq) AS times
    FROM part x
    JOIN moved m ON (m.account_id, m.seq) = (x.account_id, x.seq)
    JOIN block b ON (b.book_id, b.block_no) = (%(book_id)s::integer, x.seq / 8192)
    GROUP BY x.account_id, x.number
)
SELECT w.account_id, w.kind, w.currency_code, (w.balance - l.delta)::bigint AS balance,
       w.open_minor AS all_open, w.open_items, p.seq, t.source_no, t.trace_no, t.template,
       t.channel AS channel_code, i.put AS parked, i.taken, i.put - i.taken AS still_open,
       p.create_time, p.acct_date, p.age,
       coalesce(r.templates, '{{}}') AS by_templates, coalesce(r.numbers, '{{}}') AS by_numbers,
       coalesce(r.amounts, '{{}}') AS by_amounts, coalesce(r.times, '{{}}') AS by_times
FROM wanted w
JOIN (SELECT account_id, sum(delta) AS delta FROM late GROUP BY account_id) l USING (account_id)
LEFT JOIN page p ON p.account_id = w.account_id
LEFT JOIN listed i ON (i.account_id, i.number) = (p.account_id, p.number)
LEFT JOIN told t ON (t.account_id, t.number) = (p.account_id, p.number)
LEFT JOIN released r ON (r.account_id, r.number) = (p.account_id, p.number)
ORDER BY p.seq, w.account_id
"""
_OPEN = _ITEMS.format(in_doubt=_IN_DOUBT, listed="x.put <> x.taken")
_SETTLED_TOO = _ITEMS.format(in_doubt=_IN_DOUBT, listed="x.put <> x.taken OR x.is_parked")
