"""Admit a merchant: its accounts first, then itself."""

from __future__ import annotations

import asyncio
from itertools import product

from mesh.context import acting
from mesh.errors import reused
from mesh.money import known as is_currency
from mesh.numbers import new_id
from mesh.sql import Outcome
from tongbao.common.v1 import item_pb2
from tongbao.ledger.v1 import ledger_pb2
from tongbao.ledger.v1 import ledger_service_pb2 as ledger
from tongbao.trade.v1 import reasons_pb2 as reasons
from trade.desk import Desk
from trade.model import FeePolicy, Merchant, refuse
from trade.store import setup

# What the ledger's templates credit a merchant on, and do not open: who was never paid before
# may be sent money too. What a merchant has in transit, or owes, is opened by what puts it there.
_KINDS = (
    ledger_pb2.ACCOUNT_KIND_MERCHANT_PENDING,
    ledger_pb2.ACCOUNT_KIND_MERCHANT_AVAILABLE,
    ledger_pb2.ACCOUNT_KIND_MERCHANT_RESERVE,
)


async def create_merchant(
    desk: Desk,
    *,
    request_id: str,
    fingerprint: bytes,
    app_id: str,
    name: str,
    currency_codes: tuple[str, ...],
    rate_ppm: int,
    least_minor: int,
    refund_policy: FeePolicy,
) -> tuple[Merchant, bool]:
    """Admit a merchant; return it, and whether it was there before.

    Its accounts are open before it is written: a posting that met a missing account would
    be refused for ever. A merchant that is not written after all leaves empty accounts.

    Raises Refused, in this order: REQUEST_REUSED, APP_NOT_FOUND, CURRENCY_UNKNOWN.
    """
    request = setup.Request(
        principal=acting().caller, request_id=request_id, fingerprint=fingerprint
    )
    if (known := await _known(desk, request, app_id=app_id)) is not None:
        return known, True
    if await desk.directory.app(app_id) is None:
        raise refuse(reasons.REASON_APP_NOT_FOUND, app_id=app_id)
    for currency in currency_codes:
        if not is_currency(currency):
            raise refuse(reasons.REASON_CURRENCY_UNKNOWN, currency_code=currency)
    merchant = Merchant(
        merchant_id=new_id("mch"),
        app_id=app_id,
        name=name,
        currency_codes=currency_codes,
        rate_ppm=rate_ppm,
        least_minor=least_minor,
        refund_policy=refund_policy,
        create_time=desk.clock.now(),
    )
    await asyncio.gather(
        *(_open_account(desk, merchant, *one) for one in product(_KINDS, currency_codes))
    )
    if await setup.add_merchant(desk.db, merchant, request=request):
        return merchant, False
    known = await _known(desk, request, app_id=app_id)
    assert known is not None, "requests are never deleted"
    return known, True


async def _open_account(
    desk: Desk, merchant: Merchant, kind: ledger_pb2.AccountKind.ValueType, currency_code: str
) -> None:
    account = ledger_pb2.AccountKey(
        kind=kind, owner=merchant.merchant_id, currency_code=currency_code
    )
    context = item_pb2.ItemContext(app_id=merchant.app_id)  # An operator asks on its behalf.
    await desk.accounts.ask(ledger.OpenAccountItem(context=context, account=account))


async def _known(desk: Desk, request: setup.Request, *, app_id: str) -> Merchant | None:
    """Return the merchant that the request made before. Raises Refused(REQUEST_REUSED)."""
    made = await setup.find_request(desk.db, request)
    if made.outcome is Outcome.RACE:
        return None
    if made.outcome is Outcome.REUSED:
        raise reused(field="request_id", number=request.request_id)
    merchant = await desk.directory.merchant(app_id, made.thing_id)
    assert merchant is not None, "a request and its merchant are written together"
    return merchant
