"""Evaluate: deny list, then limit; reserve, write, answer. The same payment, the same answer."""

from __future__ import annotations

from mesh.batch import Rejected
from mesh.errors import reused
from mesh.sql import Outcome
from risk import store
from risk.desk import Desk
from risk.model import Decision, Evaluation


async def evaluate(desk: Desk, evaluation: Evaluation) -> Decision:
    """Return what is decided about a payment, now and for good.

    A pass of a limited user has its amount reserved until the payment's outcome is known.

    Raises Refused(REQUEST_REUSED) when the payment number stands for other content.
    """
    try:
        kept = await store.decide(desk.db, evaluation)
    except Rejected:
        # A twin decided while we waited for its limit. In a new statement it can be seen.
        kept = await store.decide(desk.db, evaluation)
    if kept.outcome is Outcome.REUSED:
        raise reused(field="payment_no", number=evaluation.payment_no)
    if kept.is_idle:
        desk.note_idle(evaluation.payment_no)
    return kept.decision
