"""Record a refused posting: its own account refused money that moved, a person decides."""

from __future__ import annotations

from mesh.batch import NotExecuted
from payment.case import CaseKind, Parked, Place, RefusedPosting, Subject
from payment.desk import Desk
from payment.flow._cases import new_case
from payment.states import CaseState
from payment.store.case import add_case, list_cases
from payment.store.refund import find_refund


async def record_posting_refused(desk: Desk, *, refused: RefusedPosting) -> bool:
    """Open the case LEDGER_REFUSED of the order that was to be booked, once; return whether.

    Nothing else moves: the payer was charged, or a refund did not reach him, and the money stands
    in suspense. Its case is opened again when what a channel had taken back stands after all, and
    is refused then. Raises NotExecuted while its money is being let go: what becomes of that
    comes first.
    """
    number = refused.source_no
    refund = await find_refund(desk.db, app_id=refused.app_id, refund_no=number)
    case = await new_case(
        desk,
        CaseKind.LEDGER_REFUSED,
        subject=Subject.REFUND if refund else Subject.PAYMENT,
        number=number,
        payment_no=refund.payment_no if refund else number,
        app_id=refused.app_id,
        trace_no=refused.trace_no,
        facts={
            "template": refused.template,
            "refusal": refused.refusal,
            "currency_code": refused.currency_code,
            "amount_minor": str(refused.amount_minor),
        },
        now=desk.clock.now(),
        parked=Parked(
            place=Place.SUSPENSE,
            amount_minor=refused.amount_minor,
            currency_code=refused.currency_code,
            channel_code=refused.channel_code,
        ),
    )
    if await add_case(desk.db, case):
        return True
    for kept in await list_cases(desk.db, app_id=case.app_id, trace_no=case.trace_no):
        is_same = (kept.kind, kept.number) == (case.kind, case.number)
        if is_same and kept.facts != case.facts and kept.state is CaseState.EXECUTING:
            raise NotExecuted(f"{kept.case_id} is being carried out")
    return await add_case(desk.db, case)  # It may have ended between our two looks.
