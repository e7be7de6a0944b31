"""Apply what payment says of a try: the one door for answers, events and inquiries."""

from __future__ import annotations

from tongbao.payment.v1 import payment_pb2
from trade.desk import Desk
from trade.flow._move import move_until_current
from trade.model import Trade
from trade.wire import view_from_proto


async def apply_payment(
    desk: Desk, payment: payment_pb2.Payment, *, seen: Trade | None = None
) -> Trade:
    """Move the trade by what `payment` says; return it as it is then.

    Idempotent and independent of the order of arrival: what is older than what is known
    changes nothing, a second payment that charged the payer leads to REVIEW. A recharge that
    was charged stays PAYING until it is booked (`apply_voucher`). `seen` saves a read.
    """
    told = view_from_proto(payment)

    def after(trade: Trade) -> Trade:
        amount = (trade.currency_code, trade.amount_minor)
        said = (payment.amount.currency_code, payment.amount.minor_units)
        assert amount == said, f"{payment.payment_no}: payment charges {said} for {amount}"
        return trade.after_payment(told, now=desk.clock.now())

    return await move_until_current(
        desk, app_id=payment.app_id, trade_no=payment.trade_no, after=after, seen=seen
    )
