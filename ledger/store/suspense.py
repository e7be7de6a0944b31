"""Money in doubt 挂账, item by item: what parked it, what took it out again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from ledger.model import AccountKind
from mesh.db import Database, Row


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


async def page_of_items(
    db: Database, *, book_id: int, wanted: ItemsWanted, after: tuple[int, int], size: int
) -> tuple[Sequence[Item], Sequence[ItemTotal]]:
    """Return up to `size` items behind the place `after` (seq, account), the oldest first, and
    the totals of all accounts that were asked for; one snapshot.

    Reads all that was ever booked on these accounts.
    """
    rows = await db.rows(
        _ITEMS,
        book_id=book_id,
        kinds=[kind.value for kind in wanted.kinds],
        currency_code=wanted.currency_code,
        min_age=wanted.min_age_days,
        settled=wanted.include_settled,
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


# `walk` goes along each account from its newest entry down; holds (flags 2 and 8) move nothing.
# `moved` is one row per voucher and account, `number` one per source number and account: above
# zero it parked on the whole, below zero it took out. `placed` puts the numbers of one sign of a
# trace one behind the other, each from `upto - abs(net)` to `upto`; where one that parked and one
# that took out overlap, the one took from the other: first in, first out. Up to `meets`, what is
# less of the two, everything overlaps.
_ITEMS = """
WITH RECURSIVE wanted AS MATERIALIZED (
    SELECT a.account_id, a.kind, a.currency_code, b.normal, b.last_seq,
           b.normal * (b.credit - b.debit) AS balance
    FROM account a JOIN balance b USING (book_id, account_id)
    WHERE a.book_id = %(book_id)s::integer AND a.kind = ANY (%(kinds)s::text[])
      AND %(currency_code)s::text IN ('', a.currency_code)
),
walk AS (
    SELECT account_id, normal, last_seq AS prev, 0::bigint AS seq, 2 AS flags,
           0::bigint AS delta, NULL::uuid AS id, NULL::uuid AS txn, 0::bigint AS other_id
    FROM wanted
    UNION ALL
    SELECT w.account_id, w.normal,
           CASE WHEN t.is_debit THEN t.debit_prev ELSE t.credit_prev END, t.seq,
           t.flags::integer, w.normal * CASE WHEN t.is_debit THEN -t.amount ELSE t.amount END,
           t.id, t.txn, CASE WHEN t.is_debit THEN t.credit_id ELSE t.debit_id END
    FROM walk w CROSS JOIN LATERAL (
        SELECT x.seq, x.flags, x.amount, x.id, x.txn, x.debit_id, x.credit_id, x.debit_prev,
               x.credit_prev, x.debit_id = w.account_id AS is_debit
        FROM transfer x WHERE (x.book_id, x.seq) = (%(book_id)s::integer, w.prev) OFFSET 0
    ) t
    WHERE w.prev > 0
),
moved AS MATERIALIZED (
    SELECT w.account_id, min(w.seq) AS seq, sum(w.delta)::bigint AS delta,
           coalesce(max(o.owner) FILTER (WHERE o.kind IN ('clearing', 'cash')), '') AS channel,
           coalesce(v.template, '') AS template, coalesce(v.source_no, '') AS source_no,
           coalesce(v.trace_no, '') AS trace_no, coalesce(v.app_id, '') AS app_id,
           coalesce(nullif(v.source_no, ''), coalesce(w.txn, w.id)::text) AS key
    FROM walk w
    JOIN account o ON o.account_id = w.other_id
    LEFT JOIN LATERAL (
        SELECT x.template, x.source_no, x.trace_no, x.app_id FROM voucher x
        WHERE (x.txn, x.book_id) = (w.txn, %(book_id)s::integer) AND w.flags & 1024 = 0 OFFSET 0
    ) v ON true
    WHERE w.flags & 10 = 0
    GROUP BY w.account_id, coalesce(w.txn, w.id), 5, 6, 7, 8, 9
),
number AS (
    SELECT account_id, key, min(seq) AS seq, sum(delta)::bigint AS net,
           sum(greatest(delta, 0))::bigint AS put, sum(greatest(-delta, 0))::bigint AS took,
           (array_agg(delta ORDER BY seq))[1] > 0 AS is_parked, max(channel) AS channel,
           (array_agg(template ORDER BY seq))[1] AS template,
           (array_agg(source_no ORDER BY seq))[1] AS source_no,
           (array_agg(trace_no ORDER BY seq))[1] AS trace_no,
           (array_agg(app_id ORDER BY seq))[1] AS app_id,
           max(seq) FILTER (WHERE delta < 0) AS took_seq
    FROM moved GROUP BY account_id, key
),
placed AS (
    SELECT n.*, (sum(abs(n.net)) OVER (
               PARTITION BY n.account_id, n.app_id, n.trace_no, sign(n.net) ORDER BY n.seq
           ))::bigint AS upto,
           CASE WHEN n.trace_no = '' THEN 0 ELSE least(
               sum(greatest(n.net, 0)) OVER same, sum(greatest(-n.net, 0)) OVER same
           ) END AS meets
    FROM number n WINDOW same AS (PARTITION BY n.account_id, n.app_id, n.trace_no)
),
item AS MATERIALIZED (
    SELECT p.*, (p.took + CASE WHEN p.net < 0 THEN -l.amount ELSE l.amount END)::bigint AS taken
    FROM placed p CROSS JOIN LATERAL (
        SELECT least(abs(p.net), greatest(p.meets - p.upto + abs(p.net), 0)) AS amount
    ) l
),
page AS MATERIALIZED (
    SELECT i.*, b.create_time, b.acct_date, k.acct_date - b.acct_date AS age
    FROM item i
    JOIN book k ON k.book_id = %(book_id)s::integer
    JOIN block b ON (b.book_id, b.block_no) = (%(book_id)s::integer, i.seq / 8192)
    WHERE (i.put <> i.taken OR i.is_parked AND %(settled)s::boolean)
      AND k.acct_date - b.acct_date >= %(min_age)s::integer
      AND (i.seq, i.account_id) > (%(seq)s::bigint, %(account_id)s::bigint)
    ORDER BY i.seq, i.account_id LIMIT %(size)s::integer
),
part AS MATERIALIZED (
    SELECT p.account_id, p.key, m.seq, -m.delta AS amount
    FROM page p JOIN moved m USING (account_id, key) WHERE p.net >= 0 AND m.delta < 0
    UNION ALL
    SELECT account_id, i.key, o.took_seq,
           (least(i.upto, o.upto) - greatest(i.upto - i.net, o.upto + o.net))::bigint
    FROM page i JOIN item o USING (account_id, app_id, trace_no)
    WHERE i.net > 0 AND o.net < 0 AND trace_no <> ''
      AND least(i.upto, o.upto) > greatest(i.upto - i.net, o.upto + o.net)
    UNION ALL
    SELECT account_id, key, took_seq, taken FROM page WHERE net < 0 AND taken > 0
),
released AS MATERIALIZED (
    SELECT x.account_id, x.key, array_agg(m.template ORDER BY x.seq) AS templates,
           array_agg(m.source_no ORDER BY x.seq) AS numbers,
           array_agg(x.amount ORDER BY x.seq) AS amounts,
           array_agg(b.create_time ORDER BY x.seq) AS times
    FROM part x
    JOIN moved m ON (m.account_id, m.seq) = (x.account_id, x.seq)
    JOIN block b ON (b.book_id, b.block_no) = (%(book_id)s::integer, x.seq / 8192)
    GROUP BY x.account_id, x.key
)
SELECT w.account_id, w.kind, w.currency_code, w.balance, s.all_open, s.open_items,
       p.seq, p.source_no, p.trace_no, p.template, p.channel AS channel_code, p.put AS parked,
       p.taken, p.put - p.taken AS still_open, p.create_time, p.acct_date, p.age,
       coalesce(r.templates, '{}') AS by_templates, coalesce(r.numbers, '{}') AS by_numbers,
       coalesce(r.amounts, '{}') AS by_amounts, coalesce(r.times, '{}') AS by_times
FROM wanted w
CROSS JOIN LATERAL (
    SELECT coalesce(sum(i.put - i.taken), 0)::bigint AS all_open,
           count(*) FILTER (WHERE i.put <> i.taken) AS open_items
    FROM item i WHERE i.account_id = w.account_id
) s
LEFT JOIN page p ON p.account_id = w.account_id
LEFT JOIN released r ON (r.account_id, r.key) = (p.account_id, p.key)
ORDER BY p.seq, w.account_id
"""
