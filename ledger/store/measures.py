"""What operators see of the books on a dashboard."""

from __future__ import annotations

from mesh.measures import Measure

MEASURES = (
    Measure(
        name="tongbao_ledger_imbalance_minor",
        help="Debits minus credits over all accounts, in minor units; it must be 0.",
        labels=("currency",),
        sql="""
        SELECT currency_code AS currency, (sum(debit) - sum(credit))::bigint AS value
        FROM balance GROUP BY 1
        """,
        seconds=60.0,  # It reads every account.
    ),
    Measure(
        name="tongbao_ledger_unclosed_day_seconds",
        help="For how long the oldest accounting day that was cut has not been closed; 0: none.",
        labels=("book",),
        sql="""
        SELECT book_id::text AS book, coalesce(extract(epoch FROM
                   max(business_now() - cut_time) FILTER (WHERE state = 'cut')), 0) AS value
        FROM book_day GROUP BY 1
        """,
    ),
)
