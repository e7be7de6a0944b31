"""What an order and a tool have to keep, in the order of precedence of the contract."""

from __future__ import annotations

from mesh.money import known
from tongbao.trade.v1 import reasons_pb2 as reasons
from trade.desk import Desk
from trade.model import App, Merchant, Order, Product, Tool, TradeType, refuse


async def check_order(desk: Desk, app: App, order: Order) -> tuple[Product, Merchant | None]:
    """Return the product and the merchant of an order that may be accepted.

    Raises Refused, in this order: CURRENCY_UNKNOWN, PRODUCT_NOT_FOUND, MERCHANT_REQUIRED,
    MERCHANT_NOT_FOUND, MERCHANT_CURRENCY_MISSING, USER_REQUIRED, WALLET_NOT_FOUND.
    """
    currency = order.currency_code
    if not known(currency):
        raise refuse(reasons.REASON_CURRENCY_UNKNOWN, currency_code=currency)
    product = await desk.directory.product(app.app_id, order.product_code)
    if product is None:
        raise refuse(reasons.REASON_PRODUCT_NOT_FOUND, product_code=order.product_code)
    collects = product.type is TradeType.COLLECT
    if collects != bool(order.merchant_id):
        raise refuse(reasons.REASON_MERCHANT_REQUIRED, type=product.type.name)
    if collects:
        return product, await _merchant(desk, app, order)
    await check_wallet(desk, app, user_no=order.user_no, currency_code=currency)
    return product, None


async def check_tool(
    desk: Desk, app: App, *, product: Product, tool: Tool, user_no: str, currency_code: str
) -> None:
    """Raise Refused unless `tool` may pay: TOOL_NOT_ALLOWED, USER_REQUIRED, WALLET_NOT_FOUND."""
    if tool not in product.tools:
        raise refuse(
            reasons.REASON_TOOL_NOT_ALLOWED, tool=tool.name, product_code=product.product_code
        )
    if tool is Tool.BALANCE:
        await check_wallet(desk, app, user_no=user_no, currency_code=currency_code)


async def check_wallet(desk: Desk, app: App, *, user_no: str, currency_code: str) -> None:
    """Raise Refused unless the user has a wallet: USER_REQUIRED, WALLET_NOT_FOUND."""
    if not user_no:
        raise refuse(reasons.REASON_USER_REQUIRED)
    if await desk.directory.wallet(app.app_id, user_no, currency_code) is None:
        raise refuse(reasons.REASON_WALLET_NOT_FOUND, currency_code=currency_code)


async def _merchant(desk: Desk, app: App, order: Order) -> Merchant:
    """Return the merchant. Raises MERCHANT_NOT_FOUND, MERCHANT_CURRENCY_MISSING."""
    merchant = await desk.directory.merchant(app.app_id, order.merchant_id)
    if merchant is None:
        raise refuse(reasons.REASON_MERCHANT_NOT_FOUND, merchant_id=order.merchant_id)
    if order.currency_code not in merchant.currency_codes:
        raise refuse(
            reasons.REASON_MERCHANT_CURRENCY_MISSING,
            merchant_id=merchant.merchant_id,
            currency_code=order.currency_code,
        )
    return merchant
