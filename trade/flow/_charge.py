"""Have payment carry out a try or a refund, and apply its answer."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

import structlog

from mesh.batch import NotExecuted, Unknown
from mesh.context import note, remaining, within
from mesh.crew import ended
from mesh.errors import Declined
from mesh.wire import money
from tongbao.payment.v1 import payment_pb2
from tongbao.payment.v1 import payment_service_pb2 as payment
from trade.desk import Desk
from trade.flow.apply_payment import apply_payment
from trade.flow.apply_refund import apply_refund
from trade.model import Refund, Trade
from trade.wire import try_to_proto

ASK_SECONDS = 20.0  # Less than a due row's lease, so that what follows fits into it.
_OPEN = (payment_pb2.Payment.STATE_CREATED, payment_pb2.Payment.STATE_PROCESSING)
ANSWER_SECONDS = 0.1  # What we keep of the caller's time to answer it.

T = TypeVar("T")

log = structlog.get_logger()


async def charge(desk: Desk, trade: Trade) -> Trade:
    """Have payment carry out the trade's try; return the trade after its answer.

    Asking again under the same number does nothing but ask. What payment refuses certainly
    did not happen: the try has failed. Raises NotExecuted, Unknown: then it stays due.
    """
    note(trace_no=trade.trace_no)
    item = try_to_proto(trade)
    try:
        with within(ASK_SECONDS):
            told: payment_pb2.Payment = (await desk.payments.ask(item)).payment
        if told.state not in _OPEN:  # Its event says the same again.
            with desk.db.heard.applying(told.payment_no, told.version):
                return await apply_payment(desk, told, seen=trade)
    except Declined as declined:
        told = payment_pb2.Payment(
            payment_no=trade.payment_no,
            trade_no=trade.trade_no,
            app_id=trade.app_id,
            amount=item.amount,
            state=payment_pb2.Payment.STATE_FAILED,
            version=trade.pay_version + 1,
            failure_reason=_refusal(declined, number=trade.payment_no),
        )
    return await apply_payment(desk, told, seen=trade)


async def give_back(desk: Desk, refund: Refund) -> Refund:
    """Have payment carry out the refund; return it after its answer. All as `charge`."""
    note(trace_no=refund.trace_no)
    amount = money(refund.currency_code, refund.amount_minor)
    item = payment.CreateRefundItem(
        refund_no=refund.refund_no,
        payment_no=refund.payment_no,
        amount=amount,
        fee_minor=refund.fee_minor,
    )
    try:
        with within(ASK_SECONDS):
            told: payment_pb2.Refund = (await desk.refunds.ask(item)).refund
    except Declined as declined:
        told = payment_pb2.Refund(
            refund_no=refund.refund_no,
            app_id=refund.app_id,
            amount=amount,
            state=payment_pb2.Refund.STATE_FAILED,
            version=refund.pay_version + 1,
            failure_reason=_refusal(declined, number=refund.refund_no),
        )
    return await apply_refund(desk, told, seen=refund)


async def before_deadline(desk: Desk, work: Coroutine[Any, Any, T], *, otherwise: T) -> T:
    """Return the result of `work`, or `otherwise` when the caller would not wait for it.

    The work goes on in any case; when payment does not answer, it stays due.
    """
    task = desk.crew.spawn(_quietly(work))
    left = remaining()
    if not await ended(task, within=None if left is None else left - ANSWER_SECONDS):
        return otherwise
    result = task.result()
    return otherwise if result is None else result


def _refusal(declined: Declined, *, number: str) -> str:
    """Return why payment refused; what it did under other content may have moved money."""
    reason = declined.status.reason
    assert reason != "REQUEST_REUSED", f"{number} stands for other content in payment"
    return reason


async def _quietly(work: Coroutine[Any, Any, T]) -> T | None:
    """Return the result of `work`; None when its outcome is not known yet."""
    try:
        return await work
    except (NotExecuted, Unknown) as error:
        log.warning("outcome_not_known", problem=str(error))
        return None
