"""Get a wallet with its balance."""

from __future__ import annotations

from mesh.context import acting
from tongbao.trade.v1 import reasons_pb2 as reasons
from trade.desk import Desk
from trade.flow._wallet import balance_of
from trade.model import Wallet, refuse


async def get_wallet(desk: Desk, *, user_no: str, currency_code: str) -> tuple[Wallet, int]:
    """Return the user's wallet and its balance. Raises Refused(WALLET_NOT_FOUND)."""
    app = await desk.directory.app(acting().app_id)
    assert app is not None, "its token was verified"
    wallet = await desk.directory.wallet(app.app_id, user_no, currency_code)
    if wallet is None:
        raise refuse(reasons.REASON_WALLET_NOT_FOUND, currency_code=currency_code)
    return wallet, await balance_of(desk, app, wallet)
