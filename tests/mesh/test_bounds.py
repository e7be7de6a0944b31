"""What a stranger may send at most: the size of a message, of metadata, the length of fields."""

import asyncio
import socket

import grpc
import pytest

from mesh.tokens import public_key
from tests.mesh.toy import Script, playing
from tests.services import fields_of, info_of
from tongbao.trade.v1 import trade_service_pb2 as pb
from tongbao.trade.v1.trade_service_pb2_grpc import TradeServiceStub

MESSAGE_BYTES, METADATA_BYTES = 1 << 20, 8 << 10


@pytest.fixture
async def toy(ground, database):
    async with playing(ground, database, Script()) as handle:
        yield handle


@pytest.fixture
async def channel(ground, database):
    """The public port, as an app."""
    script = Script()
    app = ground.app("mall")
    script.keys["mall"] = [public_key(app.pem)]
    async with playing(ground, database, script) as handle:
        yield handle.app(app)


async def refusal(call):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def test_a_message_over_a_mebibyte_is_refused(channel):
    """By the server before anybody reads it; a large one below it reaches its rules."""
    send = channel.unary_unary("/tongbao.trade.v1.TradeService/GetTrade")
    error = await refusal(send(b"\x12" + b"\0" * MESSAGE_BYTES, timeout=20))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    long = pb.GetTradeRequest(order_no="a" * (MESSAGE_BYTES - 100))
    error = await refusal(TradeServiceStub(channel).GetTrade(long, timeout=20))
    assert (info_of(error).reason, fields_of(error)) == ("INVALID_FIELDS", ["order_no"])


async def test_metadata_over_its_limit_is_refused(channel):
    """A little passes, twice the limit does not, and the connection lives on."""
    stub, request = TradeServiceStub(channel), pb.GetTradeRequest(order_no="1")
    await stub.GetTrade(request, metadata=(("x-note", "a" * 1_000),))
    error = await refusal(stub.GetTrade(request, metadata=(("x-note", "a" * 2 * METADATA_BYTES),)))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    await stub.GetTrade(request)


async def test_as_many_violations_are_told_as_an_answer_has_room_for(channel):
    """A client takes eight KiB of trailers: with more it would read no reason at all."""
    items = [pb.PayTradeRequest(trade_no="x" * 100)] * 600
    batch = pb.BatchPayTradesRequest(items=items)
    error = await refusal(TradeServiceStub(channel).BatchPayTrades(batch, timeout=20))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert info_of(error).reason == "INVALID_FIELDS"
    assert 1 <= len(fields_of(error)) < 600


async def test_a_connection_that_says_nothing_keeps_nobody_out(toy):
    """Two hundred strangers who never shake hands; a caller is answered meanwhile."""
    port = toy.settings.public_ports["channel"]
    silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(200)]
    error = await refusal(TradeServiceStub(toy.public()).GetTrade(pb.GetTradeRequest(), timeout=20))
    assert info_of(error).reason == "TOKEN_INVALID"
    for _, writer in silent:
        assert writer.get_extra_info("socket").family == socket.AF_INET
        writer.close()
