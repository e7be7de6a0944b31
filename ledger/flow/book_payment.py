"""Book a payment that succeeded: what the payer paid is owed to merchant or wallet."""

from __future__ import annotations

from ledger.desk import Desk
from ledger.flow._orders import (
    COLLECTS,
    REVERSED,
    book,
    collect,
    of_payment,
    settled,
    suspended,
    wait_again,
)
from tongbao.payment.v1 import payment_pb2


async def book_payment(desk: Desk, payment: payment_pb2.Payment) -> None:
    """Book the payment by the template of its trade's type.

    When its own accounts refuse the money, it is booked to suspense and PostingRefused calls a
    person. One that a person accepted has its money where its review had put it; refused, it
    stays there, and a person is called too. Repeating any of it does nothing.

    Raises Refused: FACT_MISSING, BOOK_UNKNOWN.
    """
    if payment.review_kind == REVERSED:
        await _restore(desk, payment)
    else:
        await collect(desk, payment)


async def _restore(desk: Desk, payment: payment_pb2.Payment) -> None:
    """Book it anew after its reversal, which is booked first if its event is still to come.

    Whoever owes it since then owes it no more; nobody is paid by us twice.
    """
    kind = COLLECTS[payment.trade_type]
    if not await collect(desk, payment):
        await book(desk, suspended(payment, "SUSPENSE_REVERSED"))
        await wait_again(desk, suspended(payment, "SUSPENSE_RESTORED"))
    elif await settled(desk, of_payment(payment, f"{kind}_REVERSED"), tells=False):
        await settled(desk, of_payment(payment, f"{kind}_RESTORED"))
    else:
        await book(desk, of_payment(payment, f"{kind}_RESTORED_OWED"))
