"""Book a payment under review: its money goes where nobody keeps it, or out of our books."""

from __future__ import annotations

from ledger.desk import Desk
from ledger.flow._orders import (
    COLLECTS,
    DUPLICATE,
    REVERSED,
    book,
    collect,
    of_payment,
    parked,
    settled,
    suspended,
)
from tongbao.payment.v1 import payment_pb2


async def book_review(desk: Desk, payment: payment_pb2.Payment) -> None:
    """Park what the channel says was charged, once, until a rule or a person has decided.

    A success that the channel takes back 冲正 is booked backwards: clearing then says what the
    channel says. Whoever does not have the money any more owes it.

    Raises Refused: FACT_MISSING, BOOK_UNKNOWN.
    """
    kind = payment.review_kind or payment.failure_reason
    if kind == REVERSED:
        await _reverse(desk, payment)
        if not payment.reported_minor:
            return  # Nothing of it is left at the channel.
    again = kind == DUPLICATE
    await book(desk, parked(payment, "DUPLICATE_PARKED" if again else "MISMATCH_SUSPENDED"))


async def _reverse(desk: Desk, payment: payment_pb2.Payment) -> None:
    """Book the mirror of the success; the success first, if its event is still to come."""
    kind = COLLECTS[payment.trade_type]
    if not await collect(desk, payment):
        await book(desk, suspended(payment, "SUSPENSE_REVERSED"))
    else:  # Who spent the money meanwhile owes it; the case of the review says so already.
        await settled(desk, of_payment(payment, f"{kind}_REVERSED"), tells=False)
