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
)
