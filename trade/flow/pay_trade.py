"""Pay: claim the trade for one try, have payment carry it out, answer in time."""

from __future__ import annotations

from dataclasses import dataclass

from mesh.context import acting, note
from mesh.errors import Refused, reused
from mesh.numbers import Kind
from mesh.sql import Outcome
from tongbao.trade.v1 import reasons_pb2 as reasons
from trade.desk import Desk
from trade.flow._accept import begin_try, new_trade
from trade.flow._charge import before_deadline, charge
from trade.flow._check import check_order, check_tool
from trade.model import App, Order, Trade, Try, look_again, refuse
from trade.store import kept
from trade.store import trade as store


@dataclass(frozen=True, slots=True, kw_only=True)
class Paid:
    """The trade as it is now, the try that the call was about, and if it was a repeat."""

    trade: Trade
    payment_no: str
    replayed: bool = False


async def pay_trade(
    desk: Desk, tried: Try, *, trade_no: str = "", order: Order | None = None
) -> Paid:
    """Try to pay the trade named, or the one that `order` describes.

    Returns when the try is final, when the payer has to act, or shortly before the deadline;
    then the work goes on. An order that was accepted before is paid like a trade named.

    Raises Refused, in this order: REQUEST_REUSED, those of `check_order` for a new order,
    TRADE_NOT_FOUND, TOOL_NOT_ALLOWED, USER_REQUIRED, WALLET_NOT_FOUND, TRADE_NOT_PAYABLE,
    TRADE_EXPIRED, PAYMENT_IN_PROGRESS.
    """
    app = await desk.directory.app(acting().app_id)
    assert app is not None, "its token was verified"
    if order is None:
        return await _pay_known(desk, app, tried, trade_no=trade_no)
    return await _pay_new(desk, app, tried, order)


async def _pay_new(desk: Desk, app: App, tried: Try, order: Order) -> Paid:
    """Write order and try in one statement, unless one of their numbers was seen before."""
    try:
        product, merchant = await check_order(desk, app, order)
        await check_tool(
            desk,
            app,
            product=product,
            tool=tried.tool,
            user_no=order.user_no,
            currency_code=order.currency_code,
        )
    except Refused:
        known = await kept.find_kept(desk.db, app, order=order, tried=tried)
        if known.tried is known.ordered is Outcome.RACE:
            raise
        return await _pay_kept(desk, app, tried, order, known)
    trade = new_trade(desk, app, order, product=product)
    trade = begin_try(
        trade,
        merchant,
        tool=tried.tool,
        payment_no=desk.numbers.next(Kind.PAYMENT),
        now=trade.create_time,
    )
    note(trace_no=trade.trace_no)
    if await store.add_trade(desk.db, trade, order=order, tried=tried):
        return await _carry_out(desk, trade)
    known = await kept.find_kept(desk.db, app, order=order, tried=tried)
    return await _pay_kept(desk, app, tried, order, known)


async def _pay_kept(desk: Desk, app: App, tried: Try, order: Order, known: kept.Kept) -> Paid:
    """Go on with numbers that were seen: repeat the answer, or pay the trade they stand for."""
    if known.tried is not Outcome.RACE:
        return _answered(known, tried)
    if known.ordered is Outcome.REUSED:
        raise reused(field="order_no", number=order.order_no)
    assert known.ordered is Outcome.REPLAY, "one of the numbers was seen"
    assert known.trade is not None, "a key and its trade are written together"
    return await _claim(desk, app, tried, known.trade)


async def _pay_known(desk: Desk, app: App, tried: Try, *, trade_no: str) -> Paid:
    known = await kept.find_kept(desk.db, app, tried=tried, trade_no=trade_no)
    if known.tried is not Outcome.RACE:
        return _answered(known, tried)
    if known.trade is None:
        raise refuse(reasons.REASON_TRADE_NOT_FOUND, trade_no=trade_no)
    return await _claim(desk, app, tried, known.trade)


async def _claim(desk: Desk, app: App, tried: Try, trade: Trade) -> Paid:
    """Claim a trade that exists for the try. Its identity never changes, so it may be old."""
    note(trace_no=trade.trace_no)
    product = await desk.directory.product(app.app_id, trade.product_code)
    assert product is not None, "a product stays with its apps"
    await check_tool(
        desk,
        app,
        product=product,
        tool=tried.tool,
        user_no=trade.user_no,
        currency_code=trade.currency_code,
    )
    merchant = None
    if trade.merchant_id:
        merchant = await desk.directory.merchant(app.app_id, trade.merchant_id)
        assert merchant is not None, "a merchant stays with its app"
    now = desk.clock.now()
    begun = begin_try(
        trade, merchant, tool=tried.tool, payment_no=desk.numbers.next(Kind.PAYMENT), now=now
    )
    claim = store.Claim(
        app_id=app.app_id,
        trade_no=trade.trade_no,
        request_id=tried.request_id,
        fingerprint=tried.fingerprint,
        payment_no=begun.payment_no,
        pay_tool=begun.pay_tool,
        fee_minor=begun.fee_minor,
        fee_policy=begun.fee_policy,
        due_time=look_again(now, tries=0),
        update_time=now,
    )
    claimed = await store.claim_trade(desk.db, claim)
    if claimed.outcome is Outcome.DONE:
        assert claimed.trade is not None, "it was claimed"
        desk.watchers.saw(claimed.trade)
        return await _carry_out(desk, claimed.trade)
    # Also when it did not fit: a twin of this very call may have claimed the trade.
    known = await kept.find_kept(desk.db, app, tried=tried)
    if known.tried is not Outcome.RACE:
        return _answered(known, tried)
    assert claimed.trade is not None, "trades are never deleted"
    claimed.trade.check_payable(late=claimed.late)
    raise AssertionError(f"{trade.trade_no} may be paid but was not claimed")


async def _carry_out(desk: Desk, trade: Trade) -> Paid:
    """Have payment charge the payer; the trade as it was claimed when that takes too long."""
    after = await before_deadline(desk, charge(desk, trade), otherwise=trade)
    return Paid(trade=after, payment_no=trade.payment_no)


def _answered(known: kept.Kept, tried: Try) -> Paid:
    """Return what a repeated call is answered. Raises Refused(REQUEST_REUSED)."""
    if known.tried is Outcome.REUSED:
        raise reused(field="request_id", number=tried.request_id)
    assert known.trade is not None, "a key and its trade are written together"
    return Paid(trade=known.trade, payment_no=known.payment_no, replayed=True)
