"""Get a refund by its number or its caller's."""

from __future__ import annotations

from mesh.context import acting
from tongbao.trade.v1 import reasons_pb2 as reasons
from trade.desk import Desk
from trade.model import Refund, refuse
from trade.store import refund as store


async def get_refund(desk: Desk, *, refund_no: str = "", refund_order_no: str = "") -> Refund:
    """Return the app's refund as it is now. Raises Refused(REFUND_NOT_FOUND)."""
    app_id = acting().app_id
    if refund_no:
        refund = await store.find_refund(desk.db, app_id=app_id, refund_no=refund_no)
    else:
        known = await store.find_kept_refund(
            desk.db, app_id=app_id, refund_order_no=refund_order_no, fingerprint=b""
        )
        refund = known.refund
    if refund is None:
        number = {"refund_no": refund_no} if refund_no else {"refund_order_no": refund_order_no}
        raise refuse(reasons.REASON_REFUND_NOT_FOUND, **number)
    return refund
