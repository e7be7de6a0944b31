"""Release: book money on that waits in suspense because its account refused it."""

from __future__ import annotations

from payment.case import Case, CaseKind, Subject
from payment.desk import Desk
from payment.flow._moves import move_payment
from payment.flow._neighbours import answer_of
from payment.model import Payment, Refund
from payment.states import PaymentState, RefundState
from payment.store.payment import find_payment
from payment.store.refund import find_refund
from payment.wire_case import release_posting
from tongbao.ledger.v1 import ledger_pb2, ledger_service_pb2

_REFUSED = ledger_pb2.PostingResult.OUTCOME_REFUSED


class NotBegun(Exception):
    """The order is not where its money may go on, and the ledger was not asked."""


async def release(desk: Desk, *, case: Case) -> str | None:
    """Book the money of a case LEDGER_REFUSED to the account that it was meant for, once.

    Return nothing when it has the money, why it cannot have it now, None when nobody knows. What
    the account refuses stays in suspense; another round has another number. May be repeated at
    any time, also beside itself.

    Raises NotBegun: then the round is not used up. So the number of a round is either asked for,
    or the next round has the same one, and nobody who comes late has one of his own.
    """
    is_refund = case.subject is Subject.REFUND
    order = await (_refund(desk, case) if is_refund else _marked(desk, case))
    posting = release_posting(case, order)
    item = ledger_service_pb2.PostItem(postings=[posting])
    item.context.app_id, item.context.trace_no = case.app_id, case.trace_no
    result = await answer_of(desk.ledger, item, number=posting.source_no)
    if result is None:
        return None
    [one] = result.postings
    if one.outcome == _REFUSED:
        return f"release {posting.source_no} was refused: {one.refusal}"
    return ""


async def _refund(desk: Desk, case: Case) -> Refund:
    refund = await find_refund(desk.db, app_id=case.app_id, refund_no=case.number)
    assert refund is not None, f"{case.case_id} is about a refund"
    if refund.state is not RefundState.FAILED:  # The payer has it after all.
        raise NotBegun(f"refund {refund.refund_no} is {refund.state.name}")
    return refund


async def _marked(desk: Desk, case: Case) -> Payment:
    """Write down in the payment under which number its money is about to leave suspense.

    A channel may take it back 冲正 at any time, and its event then tells the ledger of the number:
    that asks for the release first, and so knows who has the money. There is nothing to tell when
    it was taken back and restored before: no channel does that twice. Raises NotBegun.
    """
    while True:
        payment = await find_payment(desk.db, app_id=case.app_id, payment_no=case.payment_no)
        assert payment is not None, f"{case.case_id} is about a payment"
        if payment.release_round >= case.rounds:
            return payment
        if payment.state is not PaymentState.SUCCEEDED:
            raise NotBegun(f"payment {payment.payment_no} is {payment.state.name}")
        if payment.review_kind == CaseKind.CHANNEL_REVERSED:
            return payment
        after = payment.releasing(round_no=case.rounds, now=desk.clock.now())
        if await move_payment(desk, before=payment, after=after):
            return after
