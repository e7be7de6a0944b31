"""Setting a channel account up."""

import asyncio

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from tests.service.channel.world import BALANCE, FAILED, QR, World, leg
from tests.waiting import eventually


async def refusal(call) -> tuple[str, dict[str, str]]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    info = error_details_pb2.ErrorInfo()
    details = [one for one in rpc_status.from_call(caught.value).details if one.Is(info.DESCRIPTOR)]
    details[0].Unpack(info)
    return info.reason, dict(info.metadata)


async def test_refusals_come_in_the_order_of_the_contract(world: World) -> None:
    """Each is given although the ones after it hold as well."""
    wrong = {"adapter": "paypal", "tools": [BALANCE], "currency_codes": ["XXX"]}

    assert await refusal(world.put_account("x1", **wrong)) == (
        "ADAPTER_UNKNOWN",
        {"adapter": "paypal", "known": "sim"},
    )
    del wrong["adapter"]
    assert await refusal(world.put_account("x1", **wrong)) == (
        "TOOL_UNSUPPORTED",
        {"adapter": "sim", "tool": "BALANCE"},
    )
    wrong["tools"] = [QR]
    assert await refusal(world.put_account("x1", **wrong)) == (
        "CURRENCY_UNKNOWN",
        {"currency_code": "XXX"},
    )
    assert world.handle.rows("SELECT 1 FROM channel_account WHERE channel_code = 'x1'") == []


async def test_the_platforms_own_account_is_not_set_up(world: World) -> None:
    """Neither by its code nor by its adapter: money would leave wallets for anywhere."""
    assert (await refusal(world.put_account("balance")))[0] == "INVALID_FIELDS"
    by_adapter = world.put_account("x1", adapter="balance", tools=[BALANCE])
    assert (await refusal(by_adapter))[0] == "ADAPTER_UNKNOWN"


async def test_the_same_content_changes_nothing(world: World) -> None:
    """The version stays, and the trailer says that it was so; order does not matter."""
    assert (await world.put_account("x1", currency_codes=["CNY", "JPY"])).version == 1
    call = world.operator.PutChannelAccount(world.account("x1", currency_codes=["JPY", "CNY"]))

    assert (await call).version == 1
    assert ("idempotent-replayed", "true") in tuple(await call.trailing_metadata())

    assert (await world.put_account("x1", cost_ppm=1)).version == 2
    assert (await world.put_account("x1", cost_ppm=1, secret="0123456789abcdef")).version == 3


async def test_the_secret_is_sealed_for_its_row(world: World) -> None:
    """The database never sees it, and a row does not open another one's."""
    secret = world.simulator.secrets["sim-a"].encode()
    [[sealed]] = world.handle.rows(
        "SELECT secret FROM channel_account WHERE channel_code = 'sim-a'"
    )
    assert secret not in bytes(sealed)

    world.handle.rows(
        "UPDATE channel_account b SET secret = a.secret, version = b.version + 1"
        " FROM channel_account a WHERE a.channel_code = 'sim-a' AND b.channel_code = 'sim-b'"
    )
    seal = world.handle.runtime.seal
    assert seal.open(bytes(sealed), place="channel_account|secret|sim-a").encode() == secret
    with pytest.raises(ValueError, match="another place"):
        seal.open(bytes(sealed), place="channel_account|secret|sim-b")


async def test_clearing_is_open_before_the_account_can_be_chosen(world: World) -> None:
    """Every currency of it; while the ledger does not open them there is no account."""
    world.ledger.refuse_opening = True
    assert (await refusal(world.put_account("x1")))[0] == "OUTCOME_UNKNOWN"
    assert world.handle.rows("SELECT 1 FROM channel_account WHERE channel_code = 'x1'") == []

    world.ledger.refuse_opening = False
    await world.put_account("x1")

    assert [key for key in world.ledger.opened if key[0] == "x1"] == [("x1", "CNY"), ("x1", "JPY")]


async def test_a_change_is_seen_by_every_replica_within_a_second(world: World) -> None:
    """Also by one that was not told."""
    async with world.ground.run("channel", replica=1, http_port=0) as other:
        eur = leg(currency_code="EUR")
        assert (await world.submit(eur, other)).status.reason == "NO_CHANNEL"
        dead = "http://127.0.0.1:1"
        await world.put_account("sim-a", currency_codes=["CNY", "EUR"], base_url=dead)

        last = []

        async def ask() -> None:
            last.append(await world.submit(eur, other))

        while not last or last[-1].HasField("status"):
            await ask()

    assert last[-1].attempt.state == FAILED
    assert len(last) < 1000


async def test_two_operators_at_once_both_have_their_way_in_turn(world: World) -> None:
    """Neither change is lost without a version of its own."""
    answers = await asyncio.gather(
        world.put_account("x1", priority=5), world.put_account("x1", priority=6)
    )

    assert sorted(answer.version for answer in answers) == [1, 2]
    await eventually(
        lambda: (
            world.handle.rows("SELECT version FROM channel_account WHERE channel_code = 'x1'")
            == [(2,)]
        )
    )
