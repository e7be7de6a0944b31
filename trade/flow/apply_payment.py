"""Apply what payment says of a try: the one door for answers, events and inquiries."""

from __future__ import annotations

from tongbao.payment.v1 import payment_pb2
from trade.after import after_payment
from trade.desk import Desk
from trade.flow._move import move_until_current
from trade.model import Trade
from trade.states import TradeState
from trade.wire import view_from_proto


async def apply_payment(
    desk: Desk, payment: payment_pb2.Payment, *, seen: Trade | None = None
) -> Trade:
    """Move the trade by what `payment` says; return it as it is then.

    Idempotent and independent of the order of arrival: what is older than what is known
    changes nothing; a second payment that charged the payer leads to REVIEW, unless the trade
    is paid; what a person said of a payment under review leads out of it. A recharge that
    was charged stays PAYING until it is booked (`apply_voucher`). `seen` saves a read.
    """
    told = view_from_proto(payment)

    def after(trade: Trade) -> Trade:
        amount = (trade.currency_code, trade.amount_minor)
        said = (payment.amount.currency_code, payment.amount.minor_units)
        assert amount == said, f"{payment.payment_no}: payment charges {said} for {amount}"
        return after_payment(trade, told, now=desk.clock.now())

    owner = {"app_id": payment.app_id, "trade_no": payment.trade_no}
    trade = await move_until_current(desk, **owner, after=after, seen=seen)
    if told.is_accepted and trade.state is TradeState.REVIEW:
        # It was closed until this very word put it under review, and it also ends that.
        trade = await move_until_current(desk, **owner, after=after, seen=trade)
    return trade
