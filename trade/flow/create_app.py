"""Admit a business line: its code, its key, its webhooks."""

from __future__ import annotations

from mesh.context import acting
from mesh.errors import reused
from mesh.numbers import new_id
from mesh.sql import Outcome
from tongbao.trade.v1 import reasons_pb2 as reasons
from trade.access import new_key
from trade.desk import Desk
from trade.model import App, refuse
from trade.store import setup
from trade.webhook import new_secret, secret_place


async def create_app(
    desk: Desk,
    *,
    request_id: str,
    fingerprint: bytes,
    business_code: str,
    name: str,
    public_key_pem: str,
    webhook_url: str,
) -> tuple[App, str, bool]:
    """Admit an app; return it, the secret of its webhooks, and whether it was there before.

    The secret is told once: it is empty when the app was there before.

    Raises Refused, in this order: REQUEST_REUSED, WEBHOOK_URL_REFUSED, PUBLIC_KEY_INVALID,
    BUSINESS_CODE_TAKEN.
    """
    request = setup.Request(
        principal=acting().caller, request_id=request_id, fingerprint=fingerprint
    )
    if (known := await _known(desk, request)) is not None:
        return known, "", True
    if webhook_url and (problem := await desk.egress.check(webhook_url)):
        raise refuse(reasons.REASON_WEBHOOK_URL_REFUSED, problem=problem)
    app_id, secret = new_id("app"), new_secret()
    key = new_key(app_id, public_key_pem, now=desk.clock.now())
    app = App(
        app_id=app_id,
        business_code=business_code,
        name=name,
        webhook_url=webhook_url,
        webhook_secret=desk.seal.close(secret, place=secret_place(app_id)),
        create_time=desk.clock.now(),
    )
    if await setup.add_app(desk.db, app, key=key, request=request):
        return app, secret, False
    if (known := await _known(desk, request)) is not None:
        return known, "", True
    raise refuse(reasons.REASON_BUSINESS_CODE_TAKEN, business_code=business_code)


async def _known(desk: Desk, request: setup.Request) -> App | None:
    """Return the app that the request made before. Raises Refused(REQUEST_REUSED)."""
    made = await setup.find_request(desk.db, request)
    if made.outcome is Outcome.RACE:
        return None
    if made.outcome is Outcome.REUSED:
        raise reused(field="request_id", number=request.request_id)
    app = await desk.directory.app(made.thing_id)
    assert app is not None, "a request and its app are written together"
    return app
