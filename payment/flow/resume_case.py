"""Resume a case: what its timer does, for a rule or for what is being carried out."""

from __future__ import annotations

from payment.case import ROUNDS_MAX, Act, Action, Case, Resolution
from payment.desk import Desk
from payment.flow.execute_case import execute_case
from payment.model import next_look
from payment.states import CaseEvent, CaseState
from payment.store.case import find_case, move_case, postpone_case


async def resume_case(desk: Desk, *, case_id: str) -> None:
    """Begin what the rule of an open case wants done; go on with what was decided.

    What is not done then is looked at again later, by the ladder of payments.
    """
    case = await find_case(desk.db, case_id)
    assert case is not None, "a due case exists"
    if case.state is CaseState.OPEN and case.action is Action.AUTO_REFUND:
        case = await _begin(desk, case)
    if case is None or case.state is not CaseState.EXECUTING:
        return
    case = await execute_case(desk, case=case)
    if case.state is CaseState.EXECUTING:
        due_time = next_look(case.tries + 1, now=desk.clock.now())
        await postpone_case(desk.db, case, due_time=due_time)


async def _begin(desk: Desk, case: Case) -> Case | None:
    """Return the case with its rule at work; None when somebody was quicker."""
    assert case.rounds < ROUNDS_MAX, f"{case.case_id} was given back {case.rounds} times"
    after = case.moved(
        CaseEvent.BEGIN,
        now=desk.clock.now(),
        resolution=Resolution.GIVE_BACK,
        rounds=case.rounds + 1,
    )
    act = Act(actor=f"rule:{case.rule}")
    began = await move_case(desk.db, after, event=CaseEvent.BEGIN, act=act)
    return after if began else None
