"""What the words of payment and of the ledger do to a trade: the pure rules."""

from __future__ import annotations

from datetime import datetime

from mesh.records import replace
from trade.model import PaymentView, Trade, TradeType
from trade.states import PayState, TradeEvent, TradeState


def after_payment(trade: Trade, told: PaymentView, *, now: datetime) -> Trade:
    """Return the trade after payment said `told`; itself when that changes nothing."""
    if told.payment_no != trade.payment_no:
        return _after_other(trade, told, now=now)
    processing = PayState.PROCESSING
    stale = told.state is processing and trade.pay_state is not processing
    # One that was closed until this very word is put under review by it first.
    ends_doubt = told.is_accepted and trade.state is TradeState.REVIEW
    known = told.version - trade.pay_version < (0 if ends_doubt else 1)
    if stale or known:
        return trade
    seen = replace(
        trade,
        pay_state=told.state,
        pay_version=told.version,
        qr_code=told.qr_code or trade.qr_code,
        failure_reason=told.failure_reason,
    )
    if told.state is PayState.SUCCEEDED and trade.type is TradeType.COLLECT:
        seen = _charged(seen)
    elif told.state is PayState.REVIEW:
        seen = seen.moved(TradeEvent.DOUBT)
    elif trade.held_payment_no and not seen.held_payment_no and trade.state is TradeState.REVIEW:
        seen = seen.moved(TradeEvent.GIVE_BACK)  # Nothing of its own is left to wait for.
    elif seen.closing and seen.is_closable and not seen.is_open:
        seen = seen.moved(TradeEvent.CLOSE)
    same = replace(seen, pay_version=trade.pay_version) == trade
    return trade if same else seen.changed(now=now)


def after_voucher(trade: Trade, payment_no: str, *, now: datetime, accepted: bool = False) -> Trade:
    """Return the recharge after `payment_no` was booked; itself when nothing changes.

    It is `accepted` when a person has said that the payment counts; then it is the
    trade's own, whichever was tried last. Otherwise a person has the word in REVIEW.
    """
    if payment_no != trade.payment_no and not accepted:
        return _doubted(trade, now=now)
    in_review = trade.state is TradeState.REVIEW
    if in_review and not accepted:
        return trade
    seen = _charged(replace(trade, payment_no=payment_no, pay_state=PayState.SUCCEEDED))
    return trade if seen.state is trade.state else seen.changed(now=now)


def _after_other(trade: Trade, told: PaymentView, *, now: datetime) -> Trade:
    """Return the trade after payment said `told` of a payment that is not its latest try.

    A trade that is paid stays so: the second charge has a case of its own, and is given
    back. One that is not is in doubt until that case is over.
    """
    paid = trade.state in (TradeState.PAID, TradeState.COMPLETED)
    if told.state is PayState.REVIEW:
        return trade if paid else _doubted(trade, now=now)
    if told.state is PayState.SUCCEEDED:
        accepted = told.is_accepted and trade.state is TradeState.REVIEW
        return _adopted(trade, told, now=now) if accepted else _doubted(trade, now=now)
    returned = told.review_kind and trade.state is TradeState.REVIEW
    if not returned or told.state is PayState.PROCESSING:
        return trade
    if trade.pay_state is PayState.SUCCEEDED:
        return trade.moved(TradeEvent.ACCEPT).changed(now=now)
    over = trade.pay_state in (PayState.FAILED, PayState.CLOSED)
    return trade.moved(TradeEvent.GIVE_BACK).changed(now=now) if over else trade


def _adopted(trade: Trade, told: PaymentView, *, now: datetime) -> Trade:
    """Return the trade after a person accepted a payment that is not its latest try."""
    seen = replace(
        trade,
        payment_no=told.payment_no,
        pay_tool=told.tool,
        pay_state=told.state,
        pay_version=told.version,
        fee_minor=told.fee_minor,
        qr_code="",
        failure_reason="",
    )
    return (_charged(seen) if trade.type is TradeType.COLLECT else seen).changed(now=now)


def _charged(trade: Trade) -> Trade:
    """Return the trade after its payment ended well; one that was closed is in doubt.

    Under review that is what a person, or its own payment, was waited for to say.
    """
    event = {TradeState.CLOSED: TradeEvent.DOUBT, TradeState.REVIEW: TradeEvent.ACCEPT}
    return trade.moved(event.get(trade.state, TradeEvent.CHARGED))


def _doubted(trade: Trade, *, now: datetime) -> Trade:
    """Return the trade after a payment that is not its own charged the payer."""
    seen = trade.moved(TradeEvent.DOUBT)
    return trade if seen is trade else seen.changed(now=now)
