"""Make a kind of trade available to apps."""

from __future__ import annotations

from mesh.context import acting
from mesh.errors import reused
from mesh.sql import Outcome
from tongbao.trade.v1 import reasons_pb2 as reasons
from trade.desk import Desk
from trade.model import Product, Tool, TradeType, refuse
from trade.store import setup


async def create_product(
    desk: Desk,
    *,
    request_id: str,
    fingerprint: bytes,
    product_code: str,
    kind: TradeType,
    name: str,
    tools: tuple[Tool, ...],
    expiry_seconds: int,
    app_ids: tuple[str, ...],
) -> tuple[Product, bool]:
    """Make a product; return it, and whether it was there before.

    Raises Refused, in this order: REQUEST_REUSED, APP_NOT_FOUND, PRODUCT_CODE_TAKEN.
    """
    request = setup.Request(
        principal=acting().caller, request_id=request_id, fingerprint=fingerprint
    )
    if (known := await _known(desk, request, app_id=app_ids[0])) is not None:
        return known, True
    for app_id in app_ids:
        if await desk.directory.app(app_id) is None:
            raise refuse(reasons.REASON_APP_NOT_FOUND, app_id=app_id)
    product = Product(
        product_code=product_code,
        type=kind,
        name=name,
        tools=tools,
        expiry_seconds=expiry_seconds,
        create_time=desk.clock.now(),
    )
    if await setup.add_product(desk.db, product, app_ids=app_ids, request=request):
        return product, False
    if (known := await _known(desk, request, app_id=app_ids[0])) is not None:
        return known, True
    raise refuse(reasons.REASON_PRODUCT_CODE_TAKEN, product_code=product_code)


async def _known(desk: Desk, request: setup.Request, *, app_id: str) -> Product | None:
    """Return the product that the request made before. Raises Refused(REQUEST_REUSED)."""
    made = await setup.find_request(desk.db, request)
    if made.outcome is Outcome.RACE:
        return None
    if made.outcome is Outcome.REUSED:
        raise reused(field="request_id", number=request.request_id)
    product = await desk.directory.product(app_id, made.thing_id)
    assert product is not None, "a request and its product are written together"
    return product
