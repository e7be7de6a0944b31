"""Whose access a call is about, whether it was made before, and how it is changed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from mesh.batch import NotExecuted
from mesh.context import acting, note
from mesh.errors import reused
from mesh.sql import Outcome
from tongbao.common.v1 import options_pb2
from tongbao.trade.v1 import reasons_pb2 as reasons
from trade.desk import Desk
from trade.model import App, refuse
from trade.store.setup import Request, find_request

_TRIES_MAX = 20

T = TypeVar("T")


async def own_app(desk: Desk, app_id: str) -> App:
    """Return the app the caller acts for: itself, or the one an operator names.

    Raises Refused, in this order: APP_ID_REQUIRED, APP_NOT_FOUND.
    """
    who = acting()
    if who.role == options_pb2.ROLE_OPERATOR:
        if not app_id:
            raise refuse(reasons.REASON_APP_ID_REQUIRED)
    elif app_id not in ("", who.app_id):
        raise refuse(reasons.REASON_APP_NOT_FOUND, app_id=app_id)
    app = await desk.directory.app(app_id or who.app_id)
    if app is None:
        raise refuse(reasons.REASON_APP_NOT_FOUND, app_id=app_id)
    note(app_id=app.app_id)
    return app


def request_of(request_id: str, fingerprint: bytes) -> Request:
    """Return the caller's request."""
    return Request(principal=acting().caller, request_id=request_id, fingerprint=fingerprint)


async def thing_of(desk: Desk, request: Request) -> str:
    """Return what the request made or changed before; empty when it is new.

    Raises Refused(REQUEST_REUSED).
    """
    made = await find_request(desk.db, request)
    if made.outcome is Outcome.REUSED:
        raise reused(field="request_id", number=request.request_id)
    return made.thing_id


async def until_current(change: Callable[[], Awaitable[T | None]], *, what: str) -> T:
    """Return the result of `change`, which says None when somebody else was first.

    Raises NotExecuted when others were first every time.
    """
    for _ in range(_TRIES_MAX):
        if (result := await change()) is not None:
            return result
    raise NotExecuted(f"{what} was changed by others {_TRIES_MAX} times")
