"""What operators see of trades and webhooks on a dashboard."""

from __future__ import annotations

from mesh.measures import Measure
from mesh.numbers import Kind

MEASURES = (
    Measure(
        name="tongbao_trades_recent",
        help="Trades of the last ten minutes.",
        labels=("state",),
        recent=Kind.TRADE,
        sql="""
        SELECT state, count(*) AS value FROM trade WHERE trade_no >= %(recent)s GROUP BY 1
        """,
    ),
    Measure(
        name="tongbao_webhooks_pending",
        help="Webhooks that are not delivered yet, by whether a try has failed.",
        labels=("tried",),
        sql="""
        SELECT CASE WHEN tries > 0 THEN 'yes' ELSE 'no' END AS tried, count(*) AS value
        FROM webhook WHERE due_time IS NOT NULL GROUP BY 1
        """,
    ),
    Measure(
        name="tongbao_webhook_age_seconds",
        help="How old the oldest webhook is that is not delivered yet.",
        sql="""
        SELECT coalesce(extract(epoch FROM business_now() - min(create_time)), 0) AS value
        FROM webhook WHERE due_time IS NOT NULL
        """,
    ),
)
