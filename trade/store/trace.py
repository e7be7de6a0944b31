"""Everything this service has of one trace. Off the hot path, so not coalesced."""

from __future__ import annotations

from dataclasses import dataclass

from mesh.db import Database
from trade.model import App, Refund, Trade
from trade.store import kept
from trade.store.columns import (
    REFUND,
    WEBHOOK,
    WEBHOOK_ATTEMPT,
    of,
    refund,
    webhook,
    webhook_attempt,
)
from trade.webhook import Webhook, WebhookAttempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """The trade of a trace and what followed from it, each kind oldest first."""

    trade: Trade
    refunds: list[Refund]
    webhooks: list[Webhook]
    attempts: list[WebhookAttempt]


async def find_trace(db: Database, app: App, *, order_no: str) -> Trace | None:
    """Return the trace of the app's order; None when the app has no such order."""
    trade = await kept.find_order(db, app, order_no=order_no)
    if trade is None:
        return None
    names = {"app_id": app.app_id, "trace_no": trade.trace_no}
    refunds = [refund(row) for row in await db.rows(_REFUNDS, **names)]
    return Trace(
        trade=trade,
        refunds=[one for one in refunds if one is not None],
        webhooks=[webhook(row) for row in await db.rows(_WEBHOOKS, **names)],
        attempts=[webhook_attempt(row) for row in await db.rows(_ATTEMPTS, **names)],
    )


_REFUNDS = f"""
SELECT {of("r", REFUND)} FROM refund r
WHERE (r.trace_no, r.app_id) = (%(trace_no)s, %(app_id)s) ORDER BY r.refund_no
"""

_WEBHOOKS = f"""
SELECT {of("w", WEBHOOK)} FROM webhook w
WHERE (w.trace_no, w.app_id) = (%(trace_no)s, %(app_id)s) ORDER BY w.create_time, w.webhook_id
"""

_ATTEMPTS = f"""
SELECT {of("a", WEBHOOK_ATTEMPT)}
FROM webhook w JOIN webhook_attempt a USING (webhook_id)
WHERE (w.trace_no, w.app_id) = (%(trace_no)s, %(app_id)s) ORDER BY a.attempt_id
"""
