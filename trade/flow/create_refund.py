"""Refund: take the money from what is left, write the refund, have payment carry it out."""

from __future__ import annotations

from dataclasses import replace

from mesh.context import acting
from mesh.errors import reused
from mesh.numbers import Kind
from mesh.sql import Outcome
from tongbao.trade.v1 import reasons_pb2 as reasons
from trade.desk import Desk
from trade.flow._charge import before_deadline, give_back
from trade.model import Refund, Trade, look_again, refuse
from trade.states import REFUND
from trade.store import kept
from trade.store import refund as store


async def create_refund(
    desk: Desk,
    *,
    refund_order_no: str,
    fingerprint: bytes,
    trade_no: str,
    amount_minor: int,
    currency_code: str,
    cause: str,
) -> tuple[Refund, Trade, bool]:
    """Accept a refund; return it and its trade as they are now, and if it was known.

    The amount leaves what can be refunded before anybody is asked, so that two refunds
    racing for the same trade cannot both pass. Returns when the refund is final or shortly
    before the deadline; then the work goes on.

    Raises Refused, in this order: REQUEST_REUSED, TRADE_NOT_FOUND, CURRENCY_MISMATCH,
    TRADE_NOT_REFUNDABLE, REFUND_EXCEEDS_TRADE.
    """
    app_id = acting().app_id
    now = desk.clock.now()
    new = Refund(
        refund_no=desk.numbers.next(Kind.REFUND),
        app_id=app_id,
        refund_order_no=refund_order_no,
        trade_no=trade_no,
        payment_no="",
        trace_no="",
        currency_code=currency_code,
        amount_minor=amount_minor,
        fee_minor=0,
        cause=cause,
        state=REFUND.initial,
        version=1,
        pay_version=0,
        failure_reason="",
        due_time=look_again(now, tries=0),
        tries=0,
        create_time=now,
        update_time=now,
    )
    taken = await store.add_refund(desk.db, new, fingerprint=fingerprint)
    if taken.outcome is Outcome.DONE:
        assert taken.trade is not None, "it was taken from it"
        return await _carry_out(desk, new, taken.trade, fee_minor=taken.fee_minor)
    # Also when it did not fit: a twin of this very refund may have taken the money.
    known = await store.find_kept_refund(
        desk.db, app_id=app_id, refund_order_no=refund_order_no, fingerprint=fingerprint
    )
    if known.outcome is Outcome.REUSED:
        raise reused(field="refund_order_no", number=refund_order_no)
    if known.outcome is Outcome.REPLAY:
        assert known.refund is not None, "a key and its refund are written together"
        return known.refund, await _trade_of(desk, known.refund), True
    if taken.trade is None:
        raise refuse(reasons.REASON_TRADE_NOT_FOUND, trade_no=trade_no)
    taken.trade.check_refundable(amount_minor, currency_code)
    raise AssertionError(f"{refund_order_no} fits {trade_no} but was not written")


async def _carry_out(
    desk: Desk, new: Refund, trade: Trade, *, fee_minor: int
) -> tuple[Refund, Trade, bool]:
    """Have payment give the money back; a refund that failed has left the trade again."""
    accepted = replace(
        new, payment_no=trade.payment_no, trace_no=trade.trace_no, fee_minor=fee_minor
    )
    after = await before_deadline(desk, give_back(desk, accepted), otherwise=accepted)
    return after, await _trade_of(desk, after), False


async def _trade_of(desk: Desk, refund: Refund) -> Trade:
    found = await kept.find_trade(desk.db, app_id=refund.app_id, trade_no=refund.trade_no)
    assert found is not None, "trades are never deleted"
    return found
