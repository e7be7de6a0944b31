"""Give back: return money that cannot be kept to its payer, by the route on which it came."""

from __future__ import annotations

from dataclasses import replace

import structlog

from mesh.errors import Declined
from payment.attempt import Attempt, AttemptState, leg_of
from payment.case import Case, GiveBack, give_back_no
from payment.desk import Desk
from payment.flow._moves import move_give_back
from payment.flow._neighbours import answer_of
from payment.flow.apply_give_back_result import apply_give_back_result
from payment.model import Payment
from payment.states import GIVE_BACK, Event, GiveBackState
from payment.store.give_back import add_give_back, find_give_back
from payment.wire import attempt_from_proto
from payment.wire_case import give_back_item, give_back_postings
from tongbao.ledger.v1 import ledger_pb2, ledger_service_pb2

_NEVER_GIVEN = frozenset({"NO_CHANNEL", "ORIGINAL_NOT_FOUND"})
_REFUSED = ledger_pb2.PostingResult.OUTCOME_REFUSED

log = structlog.get_logger()


async def give_back(desk: Desk, *, case: Case, payment: Payment) -> GiveBack:
    """Return the money that stands parked because of `case`, and the give-back as it is then.

    Its number follows from the charge, so it is made once, whoever carries it out and however
    often. The money goes into transit before the channel is asked. Silence leaves it where it
    is. May be repeated at any time.
    """
    now = desk.clock.now()
    new = GiveBack(
        give_back_no=give_back_no(case.attempt_no, round_no=case.rounds),
        case_id=case.case_id,
        payment_no=payment.payment_no,
        attempt_no=case.attempt_no,
        app_id=case.app_id,
        business_code=payment.business_code,
        trace_no=case.trace_no,
        source=case.parked_on,
        currency_code=case.parked_currency_code,
        amount_minor=case.parked_minor,
        channel_code=case.channel_code,
        create_time=now,
        update_time=now,
    )
    kept = await add_give_back(desk.db, new)
    if kept.state is GiveBackState.CREATED:
        kept = await _fund(desk, kept)
    if kept.state is GiveBackState.PROCESSING:
        kept = await _return(desk, kept, payment)
    return kept


async def _fund(desk: Desk, created: GiveBack) -> GiveBack:
    """Take the money from where it is parked. It is parked first, if its event is still to come.

    Both are booked once, whoever books them.
    """
    item = ledger_service_pb2.PostItem(postings=give_back_postings(created))
    item.context.app_id, item.context.trace_no = created.app_id, created.trace_no
    result = await answer_of(desk.ledger, item, number=created.give_back_no)
    if result is None:
        return created
    refusal = next((one.refusal for one in result.postings if one.outcome == _REFUSED), "")
    if refusal:
        log.error("give_back_not_booked", number=created.give_back_no, refusal=refusal)
    event = Event.DECLINE if refusal else Event.SUBMIT
    after = replace(
        created,
        state=GIVE_BACK.next(created.state, event),
        version=created.version + 1,
        failure_reason=refusal,
    )
    if await move_give_back(desk, before=created, after=after):
        return after
    moved = await find_give_back(desk.db, app_id=created.app_id, give_back_no=created.give_back_no)
    assert moved is not None, "give-backs are never deleted"
    return moved


async def _return(desk: Desk, funded: GiveBack, payment: Payment) -> GiveBack:
    """Have channel give the money back, and apply what it says."""
    try:
        result = await answer_of(
            desk.channel,
            give_back_item(funded, payment),
            number=funded.give_back_no,
            final=_NEVER_GIVEN,
        )
    except Declined as error:
        attempt = Attempt(
            leg_no=leg_of(funded.give_back_no),
            app_id=funded.app_id,
            state=AttemptState.FAILED,
            currency_code=funded.currency_code,
            amount_minor=funded.amount_minor,
            failure_reason=error.status.reason,
        )
    else:
        if result is None:
            return funded
        attempt = attempt_from_proto(result.attempt)
    return await apply_give_back_result(desk, attempt=attempt)
