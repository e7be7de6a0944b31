"""How a case comes about: what was seen, and what the rules say of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from mesh.numbers import new_id
from payment.attempt import Attempt
from payment.case import Case, CaseKind, GiveBack, Parked, Subject, ruled
from payment.desk import Desk
from payment.model import Payment, Refund
from payment.store.rule import list_rules


async def new_case(
    desk: Desk,
    kind: CaseKind,
    *,
    subject: Subject,
    number: str,
    payment_no: str,
    app_id: str,
    trace_no: str,
    facts: Mapping[str, str],
    now: datetime,
    parked: Parked | None = None,
    product_code: str = "",
) -> Case:
    """Return a case that opens `now`, with what the rule says that fits it best."""
    parked = parked or Parked()
    case = Case(
        case_id=new_id("cas"),
        kind=kind,
        subject=subject,
        number=number,
        payment_no=payment_no,
        app_id=app_id,
        trace_no=trace_no,
        facts=facts,
        parked_on=parked.place,
        parked_minor=parked.amount_minor,
        parked_currency_code=parked.currency_code,
        attempt_no=parked.attempt_no,
        channel_code=parked.channel_code,
        deadline=now,
        create_time=now,
        update_time=now,
    )
    return ruled(case, await list_rules(desk.db), product_code=product_code)


async def payment_case(
    desk: Desk, attempt: Attempt, payment: Payment, *, kind: CaseKind, now: datetime
) -> Case:
    """Return the case of `attempt` not fitting `payment`, about the one or the other.

    Each further charge is a case of its own, beside the payment that is as it should be.
    """
    again = attempt.repeats(payment)
    return await new_case(
        desk,
        kind,
        subject=Subject.ATTEMPT if again else Subject.PAYMENT,
        number=attempt.attempt_no if again else payment.payment_no,
        payment_no=payment.payment_no,
        app_id=payment.app_id,
        trace_no=payment.trace_no,
        facts=attempt.facts(payment),
        now=now,
        parked=attempt.parked(kind),
        product_code=payment.product_code,
    )


async def refund_case(
    desk: Desk, attempt: Attempt, refund: Refund, *, kind: CaseKind, now: datetime
) -> Case:
    """Return the case of `attempt` not fitting `refund`, about the one or the other."""
    again = attempt.repeats(refund)
    return await new_case(
        desk,
        kind,
        subject=Subject.REFUND,
        number=attempt.attempt_no if again else refund.refund_no,
        payment_no=refund.payment_no,
        app_id=refund.app_id,
        trace_no=refund.trace_no,
        facts=attempt.facts(refund) | {"refund_no": refund.refund_no},
        now=now,
        parked=Parked(channel_code=attempt.channel_code),
    )


async def exhausted_case(
    desk: Desk, attempt: Attempt, order: Payment | Refund, *, now: datetime
) -> Case:
    """Return the case of an order that stays PROCESSING because nobody can say how it ended."""
    is_refund = isinstance(order, Refund)
    return await new_case(
        desk,
        CaseKind.INQUIRY_EXHAUSTED,
        subject=Subject.REFUND if is_refund else Subject.PAYMENT,
        number=attempt.number,
        payment_no=order.payment_no,
        app_id=order.app_id,
        trace_no=order.trace_no,
        facts=attempt.facts(order),
        now=now,
        parked=Parked(channel_code=attempt.channel_code),
    )


async def give_back_case(
    desk: Desk, give_back: GiveBack, *, kind: CaseKind, reason: str, now: datetime
) -> Case:
    """Return the case of a give-back that did not end as its case wanted it."""
    facts = {
        "give_back_of": give_back.attempt_no,
        "decided_by": give_back.case_id,
        "amount_minor": str(give_back.amount_minor),
        "currency_code": give_back.currency_code,
        "problem": reason,
    }
    return await new_case(
        desk,
        kind,
        subject=Subject.GIVE_BACK,
        number=give_back.give_back_no,
        payment_no=give_back.payment_no,
        app_id=give_back.app_id,
        trace_no=give_back.trace_no,
        facts={name: fact for name, fact in facts.items() if fact},
        now=now,
        parked=Parked(channel_code=give_back.channel_code),
    )
