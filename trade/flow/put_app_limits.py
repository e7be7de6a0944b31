"""Set how much an app may ask of one process."""

from __future__ import annotations

from mesh.limits import Limits
from tongbao.trade.v1 import reasons_pb2 as reasons
from trade.desk import Desk
from trade.model import refuse
from trade.store import app_limit


async def put_app_limits(desk: Desk, *, app_id: str, limits: Limits) -> None:
    """Put `limits` in the place of those before. Raises Refused(APP_NOT_FOUND)."""
    if not await app_limit.put_limits(desk.db, app_id=app_id, limits=limits):
        raise refuse(reasons.REASON_APP_NOT_FOUND, app_id=app_id)
