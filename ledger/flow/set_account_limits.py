"""Set limits: how far a balance may fall and rise, what is on hold included."""

from __future__ import annotations

from dataclasses import replace

from ledger.desk import Desk
from ledger.flow._accounts import Request, change_once, the_customers_account
from ledger.model import NATURES, refuse
from ledger.store.account_change import Verb
from ledger.store.account_view import AccountView
from tongbao.ledger.v1 import reasons_pb2 as reasons


async def set_account_limits(
    desk: Desk,
    request: Request,
    *,
    floor_minor: int | None,
    cap_minor: int | None,
    allow_breach: bool = False,
) -> tuple[AccountView, bool]:
    """Set the limits in minor units; return the account, and whether the request was known.

    None leaves a limit as it is; FLOOR_NONE and CAP_NONE take it away. With `allow_breach` an
    account may stand beyond its new limit: entries that bring it back pass from then on, those
    that take it further out do not.

    Raises Refused, in this order: BOOK_UNKNOWN, ACCOUNT_NOT_FOUND, ACCOUNT_INDISPENSABLE,
    FLOOR_TOO_LOW, REQUEST_REUSED, ACCOUNT_CLOSED, LIMITS_CROSSED, LIMIT_BREACHED.
    """
    view = await the_customers_account(desk, request.named)
    if floor_minor is not None and floor_minor < 0 and NATURES[view.account.kind].floored:
        raise refuse(
            reasons.REASON_FLOOR_TOO_LOW,
            account_id=view.account_id,
            kind=view.account.kind.name,
            floor_minor=floor_minor,
        )
    change = replace(
        request.change(Verb.SET_LIMITS),
        floor_minor=floor_minor,
        cap_minor=cap_minor,
        allow_breach=allow_breach,
    )
    return await change_once(desk, view, change)
