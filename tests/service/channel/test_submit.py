"""A leg from its row to its answer."""

import asyncio
import json
from datetime import UTC

import psycopg
import pytest

from mesh.clock import real_now
from tests.service.channel.providers import Provider, provider, signed
from tests.service.channel.world import (
    BALANCE,
    FAILED,
    PROCESSING,
    SUCCEEDED,
    Stream,
    World,
    leg,
    leg_no,
    refund_of,
)
from tests.waiting import eventually
from tongbao.channel.v1 import attempt_pb2
from tongbao.channel.v1 import events_pb2 as events


async def test_a_qr_leg_is_answered_with_the_code_and_succeeds_by_callback(world: World) -> None:
    """The whole life of the plainest leg: code, payer, callback, one event, both books equal."""
    item = leg(amount_minor=2050)

    attempt = await world.attempted(item)

    assert attempt.state == PROCESSING
    assert attempt.qr_code
    assert (attempt.channel_code, attempt.leg_no) == ("sim-a", item.leg_no)
    assert attempt.cost_minor == 12  # 6000 ppm of 2050, rounded half up.
    assert attempt.provider_no.startswith("sim-a-")
    await world.until(attempt.attempt_no, "succeeded")
    [told] = world.handle.published(events.AttemptSucceeded)
    assert told.attempt.attempt_no == attempt.attempt_no
    assert (told.attempt.state, told.attempt.reported_minor) == (SUCCEEDED, 0)
    assert told.attempt.qr_code == ""
    assert told.attempt.version > attempt.version
    [order] = await world.truth(attempt.attempt_no)
    assert (order["state"], order["moved_minor"]) == ("SUCCEEDED", 2050)
    assert world.row(attempt.attempt_no, "due_time") == (None,)


async def test_a_leg_sent_again_is_answered_with_its_attempt_as_it_is(world: World) -> None:
    """One leg is one order at the provider, however often it is submitted."""
    item, attempt = await world.paid()

    again = await world.attempted(item)

    assert (again.attempt_no, again.state) == (attempt.attempt_no, SUCCEEDED)
    assert len(world.attempts(item.leg_no)) == 1
    assert len(world.handle.published(events.AttemptSucceeded)) == 1


@pytest.mark.parametrize("other", [{"amount_minor": 999}, {"app_id": "shop"}, {"subject": "Gin"}])
async def test_a_leg_number_stands_for_one_content(world: World, other: dict) -> None:
    """Other content, and another tenant, get nothing but a refusal."""
    item = leg()
    await world.attempted(item)
    twin = leg(item.leg_no)
    for name, value in other.items():
        if name == "amount_minor":
            twin.amount.minor_units = value
        elif name == "app_id":
            twin.context.app_id = value
        else:
            twin.subject = value

    result = await world.submit(twin)

    assert result.status.reason == "REQUEST_REUSED"
    assert not result.HasField("attempt")
    assert len(world.attempts(item.leg_no)) == 1


async def test_refusals_come_in_the_order_of_the_contract(world: World) -> None:
    """Each is given although the ones after it hold as well."""
    seen = leg()
    await world.attempted(seen)
    unpaid = leg_no()

    reused = leg(seen.leg_no, currency_code="USD")
    no_original = refund_of(leg(unpaid), currency_code="USD")
    no_channel = leg(currency_code="USD")
    nothing = leg(amount_minor=0)

    answers = [await world.submit(item) for item in (reused, no_original, no_channel, nothing)]
    assert [answer.status.reason for answer in answers] == [
        "REQUEST_REUSED",
        "ORIGINAL_NOT_FOUND",
        "NO_CHANNEL",
        "INVALID_FIELDS",
    ]
    assert answers[1].status.metadata["original_leg_no"] == unpaid
    assert answers[2].status.metadata == {"tool": "QR_PAYER", "currency_code": "USD"}
    assert [world.attempts(item.leg_no) for item in (no_original, no_channel, nothing)] == [[]] * 3


async def test_a_refused_leg_may_be_sent_again_when_there_is_a_channel(world: World) -> None:
    """Refusals are not remembered."""
    item = leg(currency_code="EUR")
    refused = await world.submit(item)
    assert refused.status.reason == "NO_CHANNEL"

    await world.put_account("sim-a", currency_codes=["CNY", "EUR", "JPY"])

    assert (await world.attempted(item)).state == PROCESSING


async def test_only_money_that_came_is_given_back(world: World) -> None:
    """A leg still open, another tenant's leg and no leg at all cannot be refunded."""
    item = leg()
    await world.simulator.rule("lost_callback", op="charge", amount_minor=1000)
    await world.attempted(item)
    paid, _ = await world.paid(amount_minor=1100)

    legs = [refund_of(item), refund_of(paid, app_id="shop"), refund_of(paid)]
    legs[2].original_leg_no = ""
    answers = [await world.submit(one) for one in legs]

    assert [answer.status.reason for answer in answers] == ["ORIGINAL_NOT_FOUND"] * 3


async def test_a_refund_goes_where_the_charge_was_made(world: World) -> None:
    """Although another account is tried first by then."""
    paid, attempt = await world.paid()
    await world.put_account("sim-a", priority=9)

    refund = await world.attempted(refund_of(paid, amount_minor=400))

    assert refund.channel_code == attempt.channel_code == "sim-a"
    await world.until(refund.attempt_no, "succeeded")
    [order] = await world.truth(refund.attempt_no)
    assert (order["of"], order["moved_minor"]) == (attempt.attempt_no, 400)
    assert world.row(refund.attempt_no, "cost_minor, original_attempt_no") == (
        0,
        attempt.attempt_no,
    )


async def test_an_account_that_is_not_reached_is_followed_by_the_next(world: World) -> None:
    """The first attempt fails in silence, the leg goes on under another number."""
    await world.simulator.outage("sim-a", on=True)
    item = leg()

    attempt = await world.attempted(item)

    assert (attempt.state, attempt.channel_code) == (PROCESSING, "sim-b")
    assert attempt.qr_code
    [first, second] = world.attempts(item.leg_no)
    assert first[1:] == ("sim-a", "failed", "CHANNEL_UNREACHED", 1)
    assert second[:3] == (attempt.attempt_no, "sim-b", "processing")
    assert first[0] != second[0]
    await world.until(attempt.attempt_no, "succeeded")
    assert world.handle.published(events.AttemptFailed) == []
    assert (await world.attempted(item)).attempt_no == attempt.attempt_no


async def test_when_no_account_is_reached_the_leg_has_failed_for_good(world: World) -> None:
    """No money moved, nobody is asked any more, one event says so."""
    await world.simulator.outage("sim-a", on=True)
    await world.simulator.outage("sim-b", on=True)
    item = leg()

    attempt = await world.attempted(item)

    assert (attempt.state, attempt.failure_reason) == (FAILED, "CHANNEL_UNREACHED")
    [told] = world.handle.published(events.AttemptFailed)
    assert told.attempt == attempt
    assert [row[2] for row in world.attempts(item.leg_no)] == ["failed", "failed"]
    assert world.row(attempt.attempt_no, "due_time") == (None,)
    for row in world.attempts(item.leg_no):
        assert await world.truth(row[0]) == []
    again = await world.attempted(item)
    attempt.update_time.CopyFrom(again.update_time)  # The database dates a change itself.
    assert again == attempt


async def test_the_answer_comes_before_the_deadline_and_the_work_goes_on(world: World) -> None:
    """A hung provider costs the caller its patience, not the outcome."""
    await world.simulator.rule("processed_hang", op="charge", amount_minor=1000)
    item = leg(seconds=1)

    attempt = await world.attempted(item)

    assert (attempt.state, attempt.qr_code) == (PROCESSING, "")
    await world.until(attempt.attempt_no, "succeeded")  # Asked after two seconds.
    assert len(world.handle.published(events.AttemptSucceeded)) == 1


async def test_an_end_that_is_known_is_answered_although_the_reply_is_missing(world: World) -> None:
    """The provider calls back while it still owes the reply: the caller need not wait for it."""
    asked, left = asyncio.Event(), asyncio.Event()

    async def never_reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await reader.read()
        left.set()
        writer.close()

    server = await asyncio.start_server(never_reply, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    await world.put_account("sim-a", base_url=f"http://127.0.0.1:{port}")
    item = leg()
    answer = asyncio.create_task(world.attempted(item))
    await asked.wait()
    [[attempt_no, *_]] = world.attempts(item.leg_no)

    assert await world.say(attempt_pb2.Attempt(attempt_no=attempt_no, amount=item.amount)) == 200

    assert (await answer).state == SUCCEEDED
    assert not left.is_set()
    server.close()


async def test_a_reply_after_the_callers_deadline_is_recorded(world: World) -> None:
    """Nobody waits for it any more; it counts all the same, without any question."""
    late = asyncio.Event()
    item = leg(seconds=1)

    async def reply_late(_: Provider, head: bytes, writer: asyncio.StreamWriter) -> None:
        if head.startswith(b"GET"):
            writer.close()  # Questions find out nothing.
            return
        await late.wait()
        [[attempt_no, *_]] = world.attempts(item.leg_no)
        said = {"charge_no": attempt_no, "state": "PENDING", "provider_no": "p", "qr_code": "late"}
        writer.write(signed(head, json.dumps(said).encode()))

    async with provider(reply_late) as late_one:
        account = late_one.account
        await world.put_account("sim-a", base_url=account.base_url, secret=account.secret)
        attempt = await world.attempted(item)
        assert (attempt.state, attempt.qr_code) == (PROCESSING, "")

        deadline = item.context.deadline.ToDatetime(tzinfo=UTC)
        await eventually(lambda: real_now() > deadline)
        late.set()

        await eventually(lambda: world.row(attempt.attempt_no, "qr_code") == ("late",))


async def test_a_hung_provider_does_not_hold_up_a_wallet(world: World) -> None:
    """Both legs on one stream, the hung one first: the wallet's answer is first."""
    await world.simulator.hang(on=True)
    stream = Stream(world.handle)
    hung = leg(seconds=3)
    wallet = leg(tool=BALANCE, user_no="u1")
    await stream.send(hung, wallet)

    first = await stream.next()
    assert (first.item_id, first.attempt.state) == (wallet.item_id, SUCCEEDED)
    second = await stream.next()
    assert (second.item_id, second.attempt.state) == (hung.item_id, PROCESSING)
    await stream.close()


async def test_two_replicas_carry_one_leg_out_once(world: World) -> None:
    """Both are held at the leg's key by a third party, then let go: one wins."""
    item = leg()
    async with world.ground.run("channel", replica=1, http_port=0) as other:
        with psycopg.connect(world.handle.dsn) as third:
            third.execute("INSERT INTO attempt_leg VALUES (%s, 'mall', '', 'x')", [item.leg_no])
            both = [
                asyncio.create_task(world.submit(item, handle)) for handle in (world.handle, other)
            ]
            await eventually(lambda: world.waiting_for_locks() == 2)
            third.rollback()
        answers = await asyncio.gather(*both)

    [row] = world.attempts(item.leg_no)
    assert {answer.attempt.attempt_no for answer in answers} == {row[0]}
    assert len(await world.truth(row[0])) == 1


async def test_the_attempt_is_stored_before_the_first_byte_leaves(world: World) -> None:
    """The provider that is asked finds our row committed."""
    found: list[list[tuple]] = []

    async def look(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        found.append(world.attempts(item.leg_no))
        writer.close()

    server = await asyncio.start_server(look, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    await world.put_account("sim-a", base_url=f"http://127.0.0.1:{port}")
    item = leg()

    attempt = await world.attempted(item)

    server.close()
    assert attempt.state == PROCESSING  # Cut after it was sent: nobody knows.
    assert found[0][0][:3] == (attempt.attempt_no, "sim-a", "processing")
