"""Payment's orders as postings, and how one is booked that must be booked."""

from __future__ import annotations

from dataclasses import replace

from ledger.desk import Desk
from ledger.flow._refusals import Refusal, tell
from ledger.flow.post import post
from ledger.model import DIFFERS, Outcome, Posting
from ledger.postings import TEMPLATES
from tongbao.common.v1 import kinds_pb2
from tongbao.payment.v1 import payment_pb2

COLLECTS = {kinds_pb2.TRADE_TYPE_COLLECT: "COLLECT", kinds_pb2.TRADE_TYPE_RECHARGE: "RECHARGE"}
_COLLECTED = {
    kinds_pb2.TRADE_TYPE_COLLECT: "COLLECTED",
    kinds_pb2.TRADE_TYPE_RECHARGE: "RECHARGED",
}
_ACCEPTED = {
    kinds_pb2.TRADE_TYPE_COLLECT: "SUSPENSE_COLLECTED",
    kinds_pb2.TRADE_TYPE_RECHARGE: "SUSPENSE_RECHARGED",
}
REVERSED = "CHANNEL_REVERSED"
_BEFORE = "REFUSED_BEFORE"  # Why money that came back waits in suspense again.
DUPLICATE = "DUPLICATE_SUCCESS"
LATE = "LATE_SUCCESS"


def of_payment(payment: payment_pb2.Payment, template: str) -> Posting:
    """Return the whole payment to be booked by `template`, as it was asked for."""
    return Posting(
        template=template,
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


def suspended(payment: payment_pb2.Payment, template: str) -> Posting:
    """Return a success that `collect` left in suspense, to be booked by `template`.

    Its cost is booked with it, unless a person had accepted it out of there.
    """
    posting = of_payment(payment, template)
    return replace(posting, cost_minor=0) if payment.from_suspense else posting


def of_refund(refund: payment_pb2.Refund, template: str, *, moved: bool = False) -> Posting:
    """Return the refund to be booked by `template`; with `moved` what the channel says it is."""
    reported_minor = refund.reported_minor if moved else 0
    return Posting(
        template=template,
        source_no=refund.refund_no,
        trace_no=refund.trace_no,
        business_code=refund.business_code,
        currency_code=refund.amount.currency_code,
        amount_minor=reported_minor or refund.amount.minor_units,
        fee_minor=0 if reported_minor else refund.fee_minor,
        channel_code=refund.channel_code,
        merchant_id=refund.merchant_id,
    )


def of_give_back(give_back: payment_pb2.GiveBack, template: str) -> Posting:
    """Return the give-back to be booked by `template`."""
    return Posting(
        template=template,
        source_no=give_back.give_back_no,
        trace_no=give_back.trace_no,
        business_code=give_back.business_code,
        currency_code=give_back.amount.currency_code,
        amount_minor=give_back.amount.minor_units,
        channel_code=give_back.channel_code,
    )


def parked(payment: payment_pb2.Payment, template: str) -> Posting:
    """Return what the channel says was charged, to be parked under the attempt that did it.

    An attempt charges once; a payment may be charged by several.
    """
    return Posting(
        template=template,
        source_no=payment.attempt_no or payment.payment_no,
        trace_no=payment.trace_no,
        business_code=payment.business_code,
        currency_code=payment.reported_currency_code or payment.amount.currency_code,
        amount_minor=payment.reported_minor or payment.amount.minor_units,
        channel_code=payment.channel_code,
    )


async def book(desk: Desk, posting: Posting) -> None:
    """Book what nothing can refuse, once: no account below it has a floor or can be blocked.

    A customer's account can: what may be refused for that is `settled`.
    """
    await _must(desk, posting)


async def settled(desk: Desk, posting: Posting, *, tells: bool = True) -> bool:
    """Book what a customer's account may refuse, once; return whether that account has it.

    If not, the money is booked by the template that is named for that, or it stays where it
    stands, if none is; PostingRefused calls a person, unless it does not have to.
    """
    [result] = await post(desk, [posting])
    if result.outcome is not Outcome.REFUSED:
        return True
    # Booked, but not as this event says: by another template it would be booked twice.
    assert result.refusal != DIFFERS, f"{posting.source_no} was booked with other facts"
    refusal = Refusal(posting=posting, reason=result.refusal)
    if template := TEMPLATES[posting.template].otherwise:
        instead = replace(posting, template=template)
        await _must(desk, instead, instead_of=refusal if tells else None)
    elif tells:
        await tell(desk, refusal)
    return False


async def collect(desk: Desk, payment: payment_pb2.Payment) -> bool:
    """Book a success, once; return whether its own accounts have the money.

    When they refuse it, it came in all the same: it is booked to suspense, and PostingRefused
    calls a person. One that a person accepted stood in suspense before, and stays there then.
    What a person has let go from there is asked for under the number of that, so that it is
    decided by now where the money is.
    """
    if await _collected(desk, payment):
        return True
    if not payment.release_no:
        return False
    posting = of_payment(payment, _ACCEPTED[payment.trade_type])
    # With the money that was refused its cost was booked, unless it stood in suspense before.
    cost_minor = payment.cost_minor if payment.from_suspense else 0
    posting = replace(posting, source_no=payment.release_no, cost_minor=cost_minor)
    return await settled(desk, posting, tells=False)


async def _collected(desk: Desk, payment: payment_pb2.Payment) -> bool:
    if not payment.from_suspense:
        return await settled(desk, of_payment(payment, _COLLECTED[payment.trade_type]))
    # It is accepted only when what moved is what was asked.
    asked = payment_pb2.Payment()
    asked.CopyFrom(payment)
    asked.ClearField("reported_minor")
    asked.ClearField("reported_currency_code")
    await book(desk, parked(asked, "MISMATCH_SUSPENDED"))
    return await settled(desk, of_payment(payment, _ACCEPTED[payment.trade_type]))


async def wait_again(desk: Desk, posting: Posting) -> None:
    """Book money back into suspense, once; PostingRefused calls a person, who may be done with it.

    Its account refused it before it was taken back, and is not asked anew.
    """
    await _must(desk, posting, instead_of=Refusal(posting=posting, reason=_BEFORE))


async def _must(desk: Desk, posting: Posting, *, instead_of: Refusal | None = None) -> None:
    [result] = await post(desk, [posting], instead_of=instead_of)
    assert result.outcome is not Outcome.REFUSED, f"{posting.source_no}: {result.refusal}"
