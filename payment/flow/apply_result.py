"""Apply a result: the one door for whatever channel says of a payment, whenever it says it."""

from __future__ import annotations

from mesh.wire import money
from payment.attempt import Attempt, leg_of
from payment.case import CaseKind
from payment.desk import Desk
from payment.flow._cases import exhausted_case, payment_case
from payment.flow._moves import duplicated, try_payment
from payment.model import Payment
from payment.store.case import add_case
from payment.store.payment import Moved, find_payment, find_winner
from payment.wire import payment_to_proto
from tongbao.payment.v1 import events_pb2


async def apply_result(desk: Desk, *, attempt: Attempt, seen: Payment | None = None) -> Payment:
    """Apply `attempt` to its payment and return that as it is then.

    The same word twice, from the call and from the event, or words in another order change
    nothing more. What does not fit in amount or currency, what comes after FAILED or CLOSED
    and what takes a success back leads to REVIEW with a case, and so does a success in a
    trade that another payment has won. A further charge of a payment that has its money is
    told and is a case, and the payment stays. One whose channel has had its time is a case
    too, and stays PROCESSING: unknown is not failed. An attempt of no payment of its app, or of
    a leg we never made, is a bug.

    `seen` spares reading the payment when the caller just did.
    """
    beaten = False
    while True:
        payment = seen or await find_payment(
            desk.db, app_id=attempt.app_id, payment_no=attempt.number
        )
        assert payment is not None, f"{attempt.app_id} has no payment {attempt.number}"
        assert payment.app_id == attempt.app_id, f"{attempt.leg_no} is of another app"
        assert attempt.leg_no == leg_of(payment.payment_no), f"{attempt.leg_no} was never made"

        now = desk.clock.now()
        after, kind = payment.heard(attempt, now=now, beaten=beaten)
        if kind is CaseKind.LATE_SUCCESS and await _is_beaten(desk, payment):
            after, kind = payment.heard(attempt, now=now, beaten=True)
        if after is payment:
            if kind is not None:
                await _note_duplicate(desk, attempt, payment)
            elif attempt.is_past_horizon and payment.due_time is not None:
                await add_case(desk.db, await exhausted_case(desk, attempt, payment, now=now))
            return payment
        case = None
        if kind is not None:
            case = await payment_case(desk, attempt, payment, kind=kind, now=now)
        moved = await try_payment(desk, before=payment, after=after, case=case)
        if moved is Moved.DONE and not attempt.is_second:
            return after
        # It moved twice: the first one is noted. Or somebody was quicker: read it again and
        # decide anew.
        seen = after if moved is Moved.DONE else None
        beaten = moved is Moved.BEATEN


async def _is_beaten(desk: Desk, payment: Payment) -> bool:
    """Return whether another payment has won the trade of a late success."""
    winner = await find_winner(desk.db, app_id=payment.app_id, trade_no=payment.trade_no)
    return winner not in ("", payment.payment_no)


async def _note_duplicate(desk: Desk, attempt: Attempt, payment: Payment) -> None:
    """Open the case of a further charge and tell the ledger of its money, both once."""
    kind = CaseKind.DUPLICATE_SUCCESS
    case = await payment_case(desk, attempt, payment, kind=kind, now=desk.clock.now())
    event = events_pb2.ChargeDuplicated(
        payment=payment_to_proto(payment),
        attempt_no=attempt.attempt_no,
        amount=money(attempt.moved_currency_code, attempt.moved_minor),
        channel_code=attempt.channel_code,
    )
    await add_case(desk.db, case, event=duplicated(event, payment))
