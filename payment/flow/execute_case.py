"""Execute: carry out what was decided about a case, as far as the neighbours' answers go."""

from __future__ import annotations

from payment.case import Act, Action, Case, CaseKind, Resolution, Subject
from payment.desk import Desk
from payment.flow._cases import give_back_case
from payment.flow._moves import move_refund, try_payment
from payment.flow.give_back import give_back
from payment.flow.release import NotBegun, release
from payment.flow.resume_payment import resume_payment
from payment.flow.resume_refund import resume_refund
from payment.states import CaseEvent, CaseState, Event, GiveBackState, PaymentState, RefundState
from payment.store.case import add_case, find_case, move_case
from payment.store.payment import Moved, find_payment
from payment.store.refund import find_refund

_EVENTS = {Resolution.ACCEPT: Event.ACCEPT, Resolution.GIVE_BACK: Event.GIVE_BACK}
_SELF = Act(actor="payment")


async def execute_case(desk: Desk, *, case: Case) -> Case:
    """Carry out the resolution of an EXECUTING case; return the case as it is then.

    It is RESOLVED when everything is done, OPEN again when it certainly cannot be done, and
    EXECUTING while nobody knows: its timer comes back to it. May be repeated at any time,
    also beside itself: every step is keyed or guarded by versions.
    """
    assert case.state is CaseState.EXECUTING, f"{case.case_id} is {case.state}"
    rounds = case.rounds
    try:
        problem = await _carry_out(desk, case)
    except NotBegun as error:
        problem, rounds = str(error), rounds - 1
    if problem is None:
        return case
    now = desk.clock.now()
    if problem:
        event, none = CaseEvent.FAIL, Resolution.NONE
        after = case.moved(event, now=now, action=Action.MANUAL, resolution=none, rounds=rounds)
    else:
        event = CaseEvent.FINISH
        after = case.moved(event, now=now)
    act = Act(actor=_SELF.actor, text=problem)
    if await move_case(desk.db, after, event=event, act=act):
        return after
    moved = await find_case(desk.db, case.case_id)
    assert moved is not None, "cases are never deleted"
    return moved


async def _carry_out(desk: Desk, case: Case) -> str | None:
    """Do what was decided. Return what was in the way, nothing when it is done, None: unknown."""
    match case.resolution:
        case Resolution.CLOSE_AS_IS:
            return ""
        case Resolution.RESEND:
            return await _ask_again(desk, case)
        case Resolution.ACCEPT if case.kind is CaseKind.LEDGER_REFUSED:
            return await release(desk, case=case)
        case Resolution.GIVE_BACK if case.parked_minor:
            problem = await _give_back(desk, case)
            if problem != "" or case.subject is not Subject.PAYMENT:
                return problem
    if case.subject is Subject.REFUND:
        return await _end_refund(desk, case)
    return await _end_payment(desk, case)


async def _ask_again(desk: Desk, case: Case) -> str:
    if case.subject is Subject.REFUND:
        await resume_refund(desk, app_id=case.app_id, refund_no=case.number)
    else:
        await resume_payment(desk, app_id=case.app_id, payment_no=case.number)
    return ""


async def _give_back(desk: Desk, case: Case) -> str | None:
    payment = await find_payment(desk.db, app_id=case.app_id, payment_no=case.payment_no)
    assert payment is not None, f"{case.case_id} is about a payment"
    kept = await give_back(desk, case=case, payment=payment)
    match kept.state:
        case GiveBackState.SUCCEEDED:
            return ""
        case GiveBackState.FAILED:
            reason = kept.failure_reason or "the channel refused it"
            kind = CaseKind.REFUND_BLOCKED
            now = desk.clock.now()
            blocked = await give_back_case(desk, kept, kind=kind, reason=reason, now=now)
            await add_case(desk.db, blocked)
            return f"give-back {kept.give_back_no} failed: {reason}"
        case GiveBackState.REVIEW:
            return f"give-back {kept.give_back_no} is under review"
    return None


async def _end_payment(desk: Desk, case: Case) -> str:
    """Lead the payment out of REVIEW, unless somebody has done so."""
    event = _EVENTS[case.resolution]
    target = PaymentState.SUCCEEDED if event is Event.ACCEPT else PaymentState.CLOSED
    while True:
        payment = await find_payment(desk.db, app_id=case.app_id, payment_no=case.payment_no)
        assert payment is not None, f"{case.case_id} is about a payment"
        if payment.state is not PaymentState.REVIEW:
            done = payment.state is target
            return "" if done else f"payment {payment.payment_no} is {payment.state.name}"
        after = payment.resolved(event, now=desk.clock.now())
        moved = await try_payment(desk, before=payment, after=after)
        if moved is Moved.DONE:
            return ""
        if moved is Moved.BEATEN:
            return "another payment has won the trade"


async def _end_refund(desk: Desk, case: Case) -> str:
    """Lead the refund out of REVIEW, unless somebody has done so."""
    event = _EVENTS[case.resolution]
    target = RefundState.SUCCEEDED if event is Event.ACCEPT else RefundState.FAILED
    while True:
        refund = await find_refund(desk.db, app_id=case.app_id, refund_no=case.number)
        assert refund is not None, f"{case.case_id} is about a refund"
        if refund.state is not RefundState.REVIEW:
            done = refund.state is target
            return "" if done else f"refund {refund.refund_no} is {refund.state.name}"
        after = refund.resolved(event, now=desk.clock.now())
        if await move_refund(desk, before=refund, after=after):
            return ""
