"""What operators see of channels on a dashboard."""

from __future__ import annotations

from mesh.measures import Measure
from mesh.numbers import Kind

MEASURES = (
    Measure(
        name="tongbao_attempts_recent",
        help="Attempts of the last ten minutes.",
        labels=("channel", "operation", "state"),
        recent=Kind.ATTEMPT,
        sql="""
        SELECT channel_code AS channel, operation, state, count(*) AS value
        FROM attempt WHERE attempt_no >= %(recent)s GROUP BY 1, 2, 3
        """,
    ),
    Measure(
        name="tongbao_attempt_open_age_seconds",
        help="How old the oldest attempt is whose end is not known yet.",
        labels=("channel",),
        sql="""
        SELECT channel_code AS channel,
               extract(epoch FROM business_now() - min(create_time)) AS value
        FROM attempt WHERE due_time IS NOT NULL GROUP BY 1
        """,
    ),
    Measure(
        name="tongbao_callback_lag_seconds",
        help="From sending an attempt to its first callback, p95 of the last ten minutes.",
        labels=("channel",),
        recent=Kind.ATTEMPT,
        sql="""
        SELECT a.channel_code AS channel, percentile_disc(0.95) WITHIN GROUP (ORDER BY
               extract(epoch FROM c.first_time - a.sent_time)) AS value
        FROM attempt a JOIN (
            SELECT attempt_no, min(create_time) AS first_time
            FROM callback WHERE attempt_no >= %(recent)s GROUP BY 1
        ) c USING (attempt_no)
        WHERE a.attempt_no >= %(recent)s GROUP BY 1
        """,
    ),
)
