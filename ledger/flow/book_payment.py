"""Book a payment that succeeded: what the payer paid is owed to merchant or wallet."""

from __future__ import annotations

from ledger.desk import Desk
from ledger.flow._orders import COLLECTS, REVERSED, book, collect, of_payment, tried
from tongbao.common.v1 import kinds_pb2
from tongbao.payment.v1 import payment_pb2

_ACCEPTED = {
    kinds_pb2.TRADE_TYPE_COLLECT: "SUSPENSE_COLLECTED",
    kinds_pb2.TRADE_TYPE_RECHARGE: "SUSPENSE_RECHARGED",
}


async def book_payment(desk: Desk, payment: payment_pb2.Payment) -> None:
    """Book the payment by the template of its trade's type.

    When its own accounts refuse the money, it is booked to suspense and PostingRefused calls a
    person. One that a person accepted has its money where its review had put it. Repeating any
    of it does nothing.

    Raises Refused: FACT_MISSING, BOOK_UNKNOWN.
    """
    if payment.review_kind == REVERSED:
        await _restore(desk, payment)
    elif payment.review_kind:
        await book(desk, of_payment(payment, _ACCEPTED[payment.trade_type]))
    else:
        await collect(desk, payment)


async def _restore(desk: Desk, payment: payment_pb2.Payment) -> None:
    """Book it anew after its reversal, which is booked first if its event is still to come.

    Whoever owes it since then owes it no more; nobody is paid by us twice.
    """
    kind = COLLECTS[payment.trade_type]
    if not await collect(desk, payment):
        await book(desk, of_payment(payment, "SUSPENSE_REVERSED"))
        await book(desk, of_payment(payment, "SUSPENSE_RESTORED"))
    elif await tried(desk, of_payment(payment, f"{kind}_REVERSED")):
        await book(desk, of_payment(payment, f"{kind}_RESTORED"))
    else:
        await book(desk, of_payment(payment, f"{kind}_REVERSED_OWED"))
        await book(desk, of_payment(payment, f"{kind}_RESTORED_OWED"))
