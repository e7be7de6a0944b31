"""Look again at a refund whose outcome is not known: ask payment by the same number."""

from __future__ import annotations

import structlog

from mesh.batch import NotExecuted, Unknown
from trade.desk import Desk
from trade.flow._charge import give_back
from trade.model import look_again
from trade.store import refund as store

log = structlog.get_logger()


async def resume_refund(desk: Desk, *, app_id: str, refund_no: str) -> None:
    """Ask payment for a due refund; when it stays open, look again later."""
    refund = await store.find_refund(desk.db, app_id=app_id, refund_no=refund_no)
    assert refund is not None, f"no refund {refund_no} of {app_id}"
    if refund.due_time is None:
        return
    try:
        refund = await give_back(desk, refund)
    except (NotExecuted, Unknown) as error:
        log.warning("payment_silent", refund_no=refund_no, tries=refund.tries, problem=str(error))
    if refund.due_time is not None:
        due_time = look_again(desk.clock.now(), tries=refund.tries + 1)
        await store.put_off_refund(desk.db, refund, due_time=due_time)
