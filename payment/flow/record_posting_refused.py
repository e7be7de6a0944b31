"""Record a refused posting: money came in, its own accounts refused it, a person decides."""

from __future__ import annotations

from payment.case import CaseKind, RefusedPosting, Subject
from payment.desk import Desk
from payment.flow._cases import new_case
from payment.store.case import add_case


async def record_posting_refused(desk: Desk, *, refused: RefusedPosting) -> bool:
    """Open the case LEDGER_REFUSED of the order that was to be booked, once; return whether.

    Nothing else moves: the payer was charged, and the money stands in suspense.
    """
    case = await new_case(
        desk,
        CaseKind.LEDGER_REFUSED,
        subject=Subject.PAYMENT,
        number=refused.source_no,
        payment_no=refused.source_no,
        app_id=refused.app_id,
        trace_no=refused.trace_no,
        facts={
            "template": refused.template,
            "refusal": refused.refusal,
            "currency_code": refused.currency_code,
            "amount_minor": str(refused.amount_minor),
        },
        now=desk.clock.now(),
    )
    return await add_case(desk.db, case)
