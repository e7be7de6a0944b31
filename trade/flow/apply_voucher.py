"""Apply what the ledger has booked: a recharge is paid when the wallet has the money."""

from __future__ import annotations

from mesh.context import acting
from mesh.numbers import payment_of
from tongbao.ledger.v1 import ledger_pb2
from trade.after import after_voucher
from trade.desk import Desk
from trade.flow._move import move_until_current
from trade.model import Trade, TradeType
from trade.states import PayState
from trade.store import kept

RECHARGED = "RECHARGED"  # Name of the ledger's template.
# Those by which it books a recharge that a person has accepted.
_ACCEPTED = frozenset({"SUSPENSE_RECHARGED", "RECHARGE_RESTORED", "RECHARGE_RESTORED_OWED"})
RECHARGES = _ACCEPTED | {RECHARGED}


async def apply_voucher(desk: Desk, voucher: ledger_pb2.Voucher) -> Trade | None:
    """Move the recharge that `voucher` books; return it as it is then.

    Returns None for vouchers of other templates, which say nothing to a trade.
    """
    if voucher.template not in RECHARGES:
        return None
    business_code, _, order_no = voucher.trace_no.partition("-")
    app = await desk.directory.app_of(business_code)
    assert app is not None, f"no app for {voucher.trace_no}"
    seen = await kept.find_order(desk.db, app, order_no=order_no)
    assert seen is not None, f"no trade for {voucher.trace_no}"
    assert seen.type is TradeType.RECHARGE, f"{seen.trade_no} is no recharge"
    assert acting().app_id in ("", app.app_id), f"{seen.trade_no} belongs to another app"

    payment_no = payment_of(voucher.source_no)

    def after(trade: Trade) -> Trade:
        # What its wallet had refused, and got now, says nothing of a payment under review.
        is_over = payment_no == voucher.source_no or trade.pay_state is not PayState.REVIEW
        accepted = voucher.template in _ACCEPTED and is_over
        return after_voucher(trade, payment_no, now=desk.clock.now(), accepted=accepted)

    return await move_until_current(
        desk, app_id=app.app_id, trade_no=seen.trade_no, after=after, seen=seen
    )
