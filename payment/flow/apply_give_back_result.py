"""Apply a give-back's result: the one door for whatever channel says of a give-back."""

from __future__ import annotations

from dataclasses import replace

from payment.attempt import SAYS, Attempt
from payment.case import Case, CaseKind, GiveBack
from payment.desk import Desk
from payment.flow._cases import give_back_case
from payment.flow._moves import move_give_back
from payment.states import GIVE_BACK, Event, GiveBackState
from payment.store.give_back import find_give_back

# Where it stood when facts began to conflict says what kind of conflict it is.
_CONFLICTS = {
    GiveBackState.PROCESSING: CaseKind.AMOUNT_MISMATCH,
    GiveBackState.SUCCEEDED: CaseKind.CHANNEL_REVERSED,
    GiveBackState.FAILED: CaseKind.LATE_SUCCESS,
}


async def apply_give_back_result(desk: Desk, *, attempt: Attempt) -> GiveBack:
    """Apply `attempt` to its give-back and return that as it is then.

    As `apply_result` does for payments: once, in any order. What contradicts what was said
    before leads to REVIEW with a case of its own.
    """
    while True:
        kept = await find_give_back(desk.db, app_id=attempt.app_id, give_back_no=attempt.number)
        assert kept is not None, f"{attempt.app_id} has no give-back {attempt.number}"
        after, case = await _heard(desk, kept, attempt)
        if after is kept or await move_give_back(desk, before=kept, after=after, case=case):
            return after


async def _heard(desk: Desk, kept: GiveBack, attempt: Attempt) -> tuple[GiveBack, Case | None]:
    """Return it as it is after `attempt`, itself if nothing changes, and the case to open."""
    event = SAYS.get(attempt.state)
    moved = (attempt.moved_minor, attempt.moved_currency_code)
    if event is Event.MOVED and moved != (kept.amount_minor, kept.currency_code):
        event = Event.CONFLICT
    if event is None or not GIVE_BACK.allows(kept.state, event):
        return kept, None
    now = desk.clock.now()
    after = replace(
        kept,
        state=GIVE_BACK.next(kept.state, event),
        version=kept.version + 1,
        refund_attempt_no=attempt.attempt_no,
        failure_reason=attempt.failure_reason,
        update_time=now,
    )
    if after.state is not GiveBackState.REVIEW:
        return after, None
    kind = _CONFLICTS[kept.state]
    after = replace(after, failure_reason=kind.value)
    case = await give_back_case(
        desk, after, kind=kind, reason=attempt.failure_reason or attempt.state.name, now=now
    )
    return after, case
