"""What operators see of payments and refunds on a dashboard."""

from __future__ import annotations

from mesh.measures import Measure
from mesh.numbers import Kind

MEASURES = (
    Measure(
        name="tongbao_payments_recent",
        help="Payments of the last ten minutes.",
        labels=("state", "tool", "channel"),
        recent=Kind.PAYMENT,
        sql="""
        SELECT state, tool, channel_code AS channel, count(*) AS value
        FROM payment WHERE payment_no >= %(recent)s GROUP BY 1, 2, 3
        """,
    ),
    Measure(
        name="tongbao_payment_open",
        help="Payments whose end is not known yet.",
        labels=("state", "tool"),
        sql="""
        SELECT state, tool, count(*) AS value
        FROM payment WHERE due_time IS NOT NULL GROUP BY 1, 2
        """,
    ),
    Measure(
        name="tongbao_payment_open_age_seconds",
        help="How old the oldest payment is whose end is not known yet.",
        labels=("tool",),
        sql="""
        SELECT tool, extract(epoch FROM business_now() - min(create_time)) AS value
        FROM payment WHERE due_time IS NOT NULL GROUP BY 1
        """,
    ),
    Measure(
        name="tongbao_refunds_recent",
        help="Refunds of the last ten minutes.",
        labels=("state",),
        recent=Kind.REFUND,
        sql="""
        SELECT state, count(*) AS value
        FROM refund WHERE refund_no >= %(recent)s GROUP BY 1
        """,
    ),
)
