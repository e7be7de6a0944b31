"""A provider that hangs holds up its own payments, and nobody else's."""

import asyncio

from tests.mesh.platform import open_platform, settled
from tongbao.common.v1 import kinds_pb2, money_pb2
from tongbao.trade.v1 import trade_pb2
from tongbao.trade.v1 import trade_service_pb2 as pb

HUNG, WALLET = 120, 200
USER = "user01"


async def test_wallets_are_paid_from_while_every_provider_hangs(fresh_home):
    """Two hundred payments by balance come through while all payments by QR wait for an answer.

    They share every stream between the services. Not one of the hung ones is answered before
    the last of the others: whatever the machine's speed, nobody waited for a provider.
    """
    async with open_platform(fresh_home) as platform:
        await fund(platform)
        for acquirer in ("sim-a", "sim-b"):
            await platform.stage.simulator.hang(acquirer, on=True)
        hung = [
            asyncio.create_task(pay(platform, f"hung{n}", kinds_pb2.TOOL_QR_PAYER))
            for n in range(HUNG)
        ]
        answers = await asyncio.gather(
            *(pay(platform, f"wallet{n}", kinds_pb2.TOOL_BALANCE) for n in range(WALLET))
        )
        still_hung = HUNG - await settled(hung)
        for call in hung:
            call.cancel()
        await asyncio.gather(*hung, return_exceptions=True)

    assert {answer.message.trade.state for answer in answers} == {trade_pb2.Trade.STATE_PAID}
    assert still_hung == HUNG


async def fund(platform):
    """Fill the user's wallet and return when the money is there."""
    app = platform.world.apps["MALL"]
    caller = platform.world.caller("MALL")
    new = pb.NewTrade(
        order_no="fund", product_code=app.recharge, user_no=USER, amount=yuan(1_000_000)
    )
    request = pb.PayTradeRequest(request_id="fund", tool=kinds_pb2.TOOL_QR_PAYER, new_trade=new)
    await caller.ask(platform.stage.doors.trade.PayTrade, request)
    wallet = pb.GetWalletRequest(user_no=USER, currency_code="CNY")
    while True:
        answer = await caller.ask(platform.stage.doors.trade.GetWallet, wallet)
        if answer.message.wallet.balance.minor_units >= 1_000_000:
            return


async def pay(platform, number, tool):
    """Pay a new trade with all the time in the world."""
    app = platform.world.apps["MALL"]
    new = pb.NewTrade(
        order_no=number,
        product_code=app.collect,
        merchant_id=app.merchants["tea"],
        user_no=USER,
        amount=yuan(100),
    )
    request = pb.PayTradeRequest(request_id=number, tool=tool, new_trade=new)
    caller = platform.world.caller("MALL")
    return await caller.ask(platform.stage.doors.trade.PayTrade, request, seconds=60)


def yuan(minor_units):
    return money_pb2.Money(currency_code="CNY", minor_units=minor_units)
