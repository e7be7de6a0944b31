"""Write down what became of vouchers at the general ledger 总账."""

from __future__ import annotations

from collections.abc import Sequence

from ledger.desk import Desk
from ledger.model import refuse
from ledger.store.push import Became, Push, Told, VoucherKey, pushes_of
from ledger.store.push import record_pushes as record
from mesh.errors import reused
from tongbao.ledger.v1 import reasons_pb2 as reasons


async def record_pushes(
    desk: Desk, keys: Sequence[VoucherKey], told: Told
) -> tuple[Sequence[Push], bool]:
    """Record `told` of all vouchers or of none; return them as they are now, and whether the
    request was known.

    What was pushed is pushed again only with `again`, what was accepted never.

    Raises Refused, in this order, of the first voucher that it is true of: REQUEST_REUSED,
    VOUCHER_NOT_FOUND, PUSH_REFUSED.
    """
    recorded = await record(desk.db, keys, told)
    if recorded.became is Became.REUSED:
        raise reused(field="request_id", number=told.request_id)
    if recorded.became is Became.MISSING:
        raise refuse(reasons.REASON_VOUCHER_NOT_FOUND, external_key=str(keys[recorded.place]))
    if recorded.became is Became.REFUSED:
        raise refuse(
            reasons.REASON_PUSH_REFUSED,
            external_key=str(keys[recorded.place]),
            state=recorded.state,
            wanted=told.state.value,
        )
    return await pushes_of(desk.db, keys), recorded.became is Became.KNOWN
