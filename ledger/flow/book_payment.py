"""Book a payment that succeeded: what the payer paid is owed to merchant or wallet."""

from __future__ import annotations

from dataclasses import replace

from ledger.desk import Desk
from ledger.flow.post import Refusal, post
from ledger.model import DIFFERS, Outcome, Posting
from tongbao.common.v1 import kinds_pb2
from tongbao.payment.v1 import payment_pb2

_TEMPLATES = {
    kinds_pb2.TRADE_TYPE_COLLECT: "COLLECTED",
    kinds_pb2.TRADE_TYPE_RECHARGE: "RECHARGED",
}


async def book_payment(desk: Desk, payment: payment_pb2.Payment) -> None:
    """Book the payment by the template of its trade's type.

    When its own accounts refuse the money, it came in all the same: it is booked to suspense
    under another template, and PostingRefused calls a person. Repeating either does nothing.

    Raises Refused: FACT_MISSING, BOOK_UNKNOWN.
    """
    posting = Posting(
        template=_TEMPLATES[payment.trade_type],
        source_no=payment.payment_no,
        trace_no=payment.trace_no,
        business_code=payment.business_code,
        currency_code=payment.amount.currency_code,
        amount_minor=payment.amount.minor_units,
        fee_minor=payment.fee_minor,
        cost_minor=payment.cost_minor,
        channel_code=payment.channel_code,
        merchant_id=payment.merchant_id,
        user_no=payment.user_no,
    )
    [result] = await post(desk, [posting])
    if result.outcome is not Outcome.REFUSED:
        return
    # Booked, but not as this event says: in suspense it would be booked twice.
    assert result.refusal != DIFFERS, f"{payment.payment_no} was booked with other facts"
    suspended = replace(posting, template="COLLECT_SUSPENDED")
    refusal = Refusal(posting=posting, reason=result.refusal)
    [result] = await post(desk, [suspended], instead_of=refusal)
    assert result.outcome is not Outcome.REFUSED, f"{payment.payment_no}: {result.refusal}"
