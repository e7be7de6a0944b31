"""GetTrade: by either number, of the own app only."""

from __future__ import annotations

from tests.service.trade.shop import Shop, World, reason, refused
from tongbao.trade.v1 import trade_service_pb2 as pb


async def test_a_trade_is_found_by_both_numbers(shop: Shop):
    """The same answer."""
    trade = await shop.paid()
    by_trade_no = await shop.stub.GetTrade(pb.GetTradeRequest(trade_no=trade.trade_no))
    by_order_no = await shop.stub.GetTrade(pb.GetTradeRequest(order_no=trade.order_no))
    assert by_trade_no == by_order_no
    assert by_trade_no.trade == trade
    assert by_trade_no.payment.payment_no == trade.payment_no


async def test_trades_of_others_and_unknown_ones_are_not_found(world: World, shop: Shop):
    """By neither number."""
    other = await world.shop()
    trade = await shop.create()
    assert await refused(other.trade(trade)) == (
        "TRADE_NOT_FOUND",
        {"trade_no": trade.trade_no},
    )
    by_order = pb.GetTradeRequest(order_no=trade.order_no)
    assert await refused(other.stub.GetTrade(by_order)) == (
        "TRADE_NOT_FOUND",
        {"order_no": trade.order_no},
    )
    assert await reason(shop.trade("0" * 26)) == "TRADE_NOT_FOUND"


async def test_a_read_needs_one_key(shop: Shop):
    """The contract's rules are kept at the door."""
    assert await reason(shop.stub.GetTrade(pb.GetTradeRequest())) == "INVALID_FIELDS"
