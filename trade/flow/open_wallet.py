"""Open a wallet: its account first, then itself."""

from __future__ import annotations

from mesh.context import acting
from mesh.money import known
from mesh.numbers import new_id
from tongbao.trade.v1 import reasons_pb2 as reasons
from trade.desk import Desk
from trade.flow._wallet import balance_of, open_account
from trade.model import Wallet, refuse
from trade.store import setup


async def open_wallet(desk: Desk, *, user_no: str, currency_code: str) -> tuple[Wallet, int, bool]:
    """Open the user's wallet; return it, its balance, and whether it was there before.

    Its account is open before it is written: a posting that met a missing account would be
    refused for ever. Raises Refused(CURRENCY_UNKNOWN).
    """
    if not known(currency_code):
        raise refuse(reasons.REASON_CURRENCY_UNKNOWN, currency_code=currency_code)
    app = await desk.directory.app(acting().app_id)
    assert app is not None, "its token was verified"
    wallet = await desk.directory.wallet(app.app_id, user_no, currency_code)
    is_new = False
    if wallet is None:
        await open_account(desk, app, user_no=user_no, currency_code=currency_code)
        new = Wallet(
            wallet_id=new_id("wlt"),
            app_id=app.app_id,
            user_no=user_no,
            currency_code=currency_code,
            create_time=desk.clock.now(),
        )
        is_new = await setup.add_wallet(desk.db, new)
        wallet = await desk.directory.wallet(app.app_id, user_no, currency_code)
        assert wallet is not None, "wallets are never deleted"
    return wallet, await balance_of(desk, app, wallet), not is_new
