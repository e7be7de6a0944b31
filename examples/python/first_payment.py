"""A first integration in Python: sign, pay, pay again, watch, read a refusal.

Needs the generated stubs (`gen/python`), grpcio, grpcio-status and pyjwt with cryptography.
Where everything is comes from SHOP_TRADE, SHOP_CA, SHOP_APP_ID, SHOP_KEY,
SHOP_PRODUCT and SHOP_MERCHANT; README.md beside this file says to what to set them.
"""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from pathlib import Path
from typing import cast

import grpc
import jwt
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from tongbao.common.v1 import kinds_pb2, money_pb2
from tongbao.trade.v1 import trade_pb2
from tongbao.trade.v1 import trade_service_pb2 as pb
from tongbao.trade.v1.trade_service_pb2_grpc import TradeServiceStub

LIFE_SECONDS = 300  # At most 600 are accepted.


class Signer:
    """Signs tokens of one app; each is used until half of its life is over."""

    def __init__(self, app_id: str, key_file: Path) -> None:
        self._app_id, self._key = app_id, key_file.read_text()
        self._token, self._renew_at = "", 0

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Return what says on every call who we are."""
        now = int(time.time())
        if now >= self._renew_at:
            claims = {
                "iss": self._app_id,
                "aud": "tongbao",
                "iat": now,
                "exp": now + LIFE_SECONDS,
                "jti": uuid.uuid4().hex,
            }
            self._token = jwt.encode(claims, self._key, algorithm="EdDSA")
            self._renew_at = now + LIFE_SECONDS // 2
        return (("authorization", f"Bearer {self._token}"),)


async def main(signer: Signer, credentials: grpc.ChannelCredentials) -> None:
    """Pay an order by QR code, whose payer is the simulator, and wait for the money."""
    address = os.environ["SHOP_TRADE"].removeprefix("https://")
    async with grpc.aio.secure_channel(address, credentials) as channel:
        trades = TradeServiceStub(channel)
        request = new_order()

        answer = await trades.PayTrade(request, metadata=signer.metadata(), timeout=5)
        state = trade_pb2.Trade.State.Name(answer.trade.state)
        print("pay", state, "qr" if answer.payment.action.qr_code else "no qr")

        # Nobody knows whether an answer got lost: send the same again, nothing happens twice.
        again = await trades.PayTrade(request, metadata=signer.metadata(), timeout=5)
        print("again", "same trade" if again.trade.trade_no == answer.trade.trade_no else "ANOTHER")

        last = answer.trade.state
        watched = trades.WatchTrade(
            pb.WatchTradeRequest(trade_no=answer.trade.trade_no),
            metadata=signer.metadata(),
            timeout=60,
        )
        async for seen in watched:  # Ends when the trade is paid or closed.
            last = seen.trade.state
        print("watch", trade_pb2.Trade.State.Name(last))

        request.tool = kinds_pb2.TOOL_BALANCE
        try:
            await trades.PayTrade(request, metadata=signer.metadata(), timeout=5)
        except grpc.aio.AioRpcError as error:
            print("refused", error.code().name, reason_of(error))


def new_order() -> pb.PayTradeRequest:
    """Return the request: ids of our own, so that it can be repeated for ever."""
    return pb.PayTradeRequest(
        request_id=uuid.uuid4().hex,
        tool=kinds_pb2.TOOL_QR_PAYER,
        new_trade=pb.NewTrade(
            order_no=f"py-{uuid.uuid4().hex}",
            product_code=os.environ["SHOP_PRODUCT"],
            merchant_id=os.environ["SHOP_MERCHANT"],
            subject="tea",
            amount=money_pb2.Money(currency_code="CNY", minor_units=1234),
        ),
    )


def reason_of(error: grpc.aio.AioRpcError) -> str:
    """Return the reason that every refusal carries; docs/reference/errors.md lists them."""
    status = rpc_status.from_call(cast(grpc.Call, error))  # It has all that is asked of one.
    for detail in status.details if status else ():
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return str(info.reason)
    return "no reason"


if __name__ == "__main__":
    ours = Signer(os.environ["SHOP_APP_ID"], Path(os.environ["SHOP_KEY"]))
    theirs = grpc.ssl_channel_credentials(Path(os.environ["SHOP_CA"]).read_bytes())
    asyncio.run(main(ours, theirs))
