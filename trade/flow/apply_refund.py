"""Apply what payment says of a refund: the one door for answers, events and inquiries."""

from __future__ import annotations

from mesh.batch import NotExecuted
from mesh.context import note
from tongbao.payment.v1 import payment_pb2
from trade.desk import Desk
from trade.flow._tell import tell_refund
from trade.model import Refund
from trade.store import refund as store
from trade.wire import refund_event_of

_TRIES_MAX = 20


async def apply_refund(
    desk: Desk, told: payment_pb2.Refund, *, seen: Refund | None = None
) -> Refund:
    """Move the refund by what payment says of it; return it as it is then.

    A refund that failed is given back to its trade, amount and fee. Idempotent; what is
    older than what is known changes nothing. `seen` saves a read. Raises NotExecuted when
    others were first every time.
    """
    event_told = refund_event_of(told)
    for _ in range(_TRIES_MAX):
        if seen is None:
            seen = await store.find_refund(desk.db, app_id=told.app_id, refund_no=told.refund_no)
            assert seen is not None, f"no refund {told.refund_no} of {told.app_id}"
        note(trace_no=seen.trace_no)
        assert seen.amount_minor == told.amount.minor_units, f"{seen.refund_no}: other amount"
        after = seen.after_told(
            event_told,
            version=told.version,
            failure_reason=told.failure_reason,
            now=desk.clock.now(),
        )
        if after is seen:
            return seen
        event, letter = await tell_refund(desk, after)
        if await store.move_refund(desk.db, seen, after, event=event, letter=letter):
            return after
        seen = None
    raise NotExecuted(f"{told.refund_no} was moved by others {_TRIES_MAX} times")
