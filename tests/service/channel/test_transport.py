"""What the transport makes of everything that can happen between us and a provider."""

import asyncio
import socket
from dataclasses import replace
from functools import partial

import orjson
import pytest

from channel import transport as t
from channel.adapters import ADAPTERS
from channel.adapters.spi import (
    BODY_BYTES_MAX,
    Account,
    HttpCall,
    Operation,
    Outcome,
    PayRequest,
    PostingOutcome,
    Ref,
    RefundRequest,
    Result,
    Retry,
)
from channel.transport import Transport
from mesh.batch import NotExecuted, Unknown
from mesh.context import within
from tests.service.channel.providers import ACCOUNT, Provider, http, provider, reset, signed
from tests.simulator import free_port
from tests.waiting import eventually

SIM, BALANCE = ADAPTERS["sim"], ADAPTERS["balance"]
NUMBER = "20261122AT0000000000000001"
WHO = {"user_no": "u1", "business_code": "MALL", "trace_no": "MALL-1"}
MONEY = {"attempt_no": NUMBER, "amount_minor": 1000, "currency_code": "CNY"}
PAY = PayRequest(subject="Tea", notify_url="http://127.0.0.1:1/", **MONEY, **WHO)
REFUND = RefundRequest(
    original_attempt_no="20261122AT0000000000000002",
    provider_no="P1",
    notify_url="http://127.0.0.1:1/",
    **MONEY,
    **WHO,
)
REF = Ref(**MONEY, **WHO)
BEGIN = {
    Operation.PAY: lambda adapter, account: partial(adapter.pay, account, PAY),
    Operation.QUERY: lambda adapter, account: partial(adapter.query, account, REF),
    Operation.CLOSE: lambda adapter, account: partial(adapter.close, account, REF),
    Operation.REFUND: lambda adapter, account: partial(adapter.refund, account, REFUND),
    Operation.QUERY_REFUND: lambda adapter, account: partial(adapter.query_refund, account, REF),
}
PAID = orjson.dumps(
    {
        "charge_no": NUMBER,
        "provider_no": "P1",
        "state": "SUCCEEDED",
        "amount_minor": 1000,
        "currency": "CNY",
    }
)


async def no_ledger(call):
    raise AssertionError(f"nobody should book {call}")


@pytest.fixture
async def transport():
    async with Transport(no_ledger) as opened:
        yield opened


async def ask(
    transport, account, operation=Operation.PAY, *, adapter=SIM, sent_before=False
) -> Result:
    return await transport.run(
        BEGIN[operation](adapter, account),
        account=account,
        operation=operation,
        sent_before=sent_before,
    )


def at(port: int) -> Account:
    return replace(ACCOUNT, base_url=f"http://127.0.0.1:{port}")


def brief(result: Result) -> tuple[str, Outcome, Retry]:
    return result.code, result.outcome, result.retry


async def say_paid(_: Provider, head: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(signed(head, PAID))


async def say_nothing(_: Provider, head: bytes, writer: asyncio.StreamWriter) -> None:
    pass


async def test_a_signed_reply_becomes_its_result(transport):
    """Again over the same connection."""
    async with provider(say_paid) as one:
        for _ in range(3):
            result = await ask(transport, one.account, Operation.QUERY)
            assert (result.outcome, result.amount_minor) == (Outcome.SUCCEEDED, 1000)
        assert (one.requests, len(one.writers)) == (3, 1)


NEVER_SENT = {
    Operation.PAY: (Outcome.FAILED, Retry.ELSEWHERE),
    Operation.REFUND: (Outcome.FAILED, Retry.SAME),
    Operation.QUERY: (Outcome.UNKNOWN, Retry.SAME),
    Operation.QUERY_REFUND: (Outcome.UNKNOWN, Retry.SAME),
    Operation.CLOSE: (Outcome.UNKNOWN, Retry.QUERY),
}
SENT = dict.fromkeys(Operation, (Outcome.UNKNOWN, Retry.QUERY)) | {
    Operation.QUERY: (Outcome.UNKNOWN, Retry.SAME),
    Operation.QUERY_REFUND: (Outcome.UNKNOWN, Retry.SAME),
}
each_operation = pytest.mark.parametrize("operation", list(Operation))


@each_operation
async def test_a_refused_port_was_never_reached(transport, operation):
    """A charge may go elsewhere, a refund may be sent again, a question stays open."""
    result = await ask(transport, at(free_port()), operation)
    assert brief(result) == (t.UNREACHED, *NEVER_SENT[operation])


@each_operation
async def test_not_reaching_them_now_proves_nothing_of_an_earlier_try(transport, operation):
    """The same number was sent before, so the provider may have it."""
    result = await ask(transport, at(free_port()), operation, sent_before=True)
    assert brief(result) == (t.UNREACHED, *SENT[operation])


async def test_a_name_that_nobody_has_was_never_reached(transport):
    """No address, no bytes."""
    account = replace(ACCOUNT, base_url="http://provider.invalid")
    assert brief(await ask(transport, account)) == (t.UNREACHED, *NEVER_SENT[Operation.PAY])


async def test_a_connect_that_takes_too_long_was_never_reached(transport):
    """A full accept queue: the kernel does not even refuse."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        crowd = [socket.socket() for _ in range(4)]
        for one in crowd:
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        async with asyncio.timeout(t.CALL_SECONDS - 1):  # Sooner than a call that was sent.
            result = await ask(transport, at(listener.getsockname()[1]))
        assert brief(result) == (t.UNREACHED, *NEVER_SENT[Operation.PAY])
        for one in crowd:
            one.close()


async def test_nothing_is_sent_after_the_deadline(transport):
    """Nobody waits for it any more."""
    async with provider(say_paid) as one:
        with within(0):
            result = await ask(transport, one.account)
        assert brief(result) == (t.UNREACHED, *NEVER_SENT[Operation.PAY])
        assert not one.writers


async def close_at_once(_: Provider, head: bytes, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def reset_at_once(_: Provider, head: bytes, writer: asyncio.StreamWriter) -> None:
    reset(writer)


async def break_off(_: Provider, head: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(http(200, PAID, length=len(PAID) + 1))
    await writer.drain()
    writer.close()


async def talk_nonsense(_: Provider, head: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")


@each_operation
@pytest.mark.parametrize("speak", [close_at_once, reset_at_once, break_off, talk_nonsense])
async def test_a_connection_that_ends_after_the_request_is_lost(transport, speak, operation):
    """Whatever the error is called: the provider may have done it."""
    async with provider(speak) as one:
        result = await ask(transport, one.account, operation)
        assert brief(result) == (t.LOST, *SENT[operation])
        assert one.requests >= 1


async def stall_in_the_body(_: Provider, head: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(signed(head, PAID)[:-1])


@pytest.mark.parametrize("speak", [say_nothing, stall_in_the_body])
async def test_a_provider_that_is_too_slow_is_lost(transport, speak):
    """Before the reply or in the middle of it; the deadline in hand counts."""
    async with provider(speak) as one:
        with within(1.0):
            result = await ask(transport, one.account)
        assert brief(result) == (t.LOST, *SENT[Operation.PAY])
        assert one.requests == 1


async def test_without_a_deadline_a_call_still_ends(transport, monkeypatch):
    """Nobody waits for ever."""
    monkeypatch.setattr(t, "CALL_SECONDS", 1.0)
    async with provider(say_nothing) as one:
        assert (await ask(transport, one.account)).code == t.LOST


async def test_a_stale_connection_that_closes_under_a_request_is_lost(transport):
    """The provider closed a kept-alive connection while our request was on its way."""

    async def once(one: Provider, head: bytes, writer: asyncio.StreamWriter) -> None:
        if one.requests == 1:
            writer.write(signed(head, PAID))
        else:
            writer.close()

    async with provider(once) as one:
        assert (await ask(transport, one.account)).outcome is Outcome.SUCCEEDED
        result = await ask(transport, one.account)
        assert brief(result) == (t.LOST, *SENT[Operation.PAY])
        assert (one.requests, len(one.writers)) == (2, 1), "the connection was the same"


async def test_a_connection_that_was_closed_before_we_could_notice_is_lost(transport):
    """It was not read, as it happens; from here nobody can tell."""
    async with provider(say_paid) as one:
        assert (await ask(transport, one.account)).outcome is Outcome.SUCCEEDED
        one.writers[0].get_extra_info("socket").shutdown(socket.SHUT_RDWR)
        result = await ask(transport, one.account)
        assert brief(result) == (t.LOST, *SENT[Operation.PAY])
        assert (one.requests, len(one.writers)) == (1, 1)


async def test_html_proves_nothing(transport):
    """A proxy's error page is not the provider's word."""

    async def say_html(_: Provider, head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(http(502, b"<html>Bad Gateway</html>", "Content-Type: text/html"))

    async with provider(say_html) as one:
        result = await ask(transport, one.account)
        assert brief(result) == (t.BAD_SIGNATURE, *SENT[Operation.PAY])
        assert "502" in result.message


async def test_a_badly_signed_success_is_no_success(transport):
    """Nor is one that was signed for another request."""

    async def sign_badly(_: Provider, head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(signed(head, PAID, secret="somebody else's"))

    async def repeat_an_old_one(one: Provider, head: bytes, writer: asyncio.StreamWriter) -> None:
        one.first = getattr(one, "first", None) or signed(head, PAID)
        writer.write(one.first)

    async with provider(sign_badly) as one:
        result = await ask(transport, one.account, Operation.QUERY)
        assert brief(result) == (t.BAD_SIGNATURE, *SENT[Operation.QUERY])

    async with provider(repeat_an_old_one) as two:
        first = await ask(transport, two.account, Operation.QUERY)
        assert first.outcome is Outcome.SUCCEEDED
        second = await ask(transport, two.account, Operation.QUERY)
        assert brief(second) == (t.BAD_SIGNATURE, *SENT[Operation.QUERY])


@pytest.mark.parametrize("body", [b"", b"{", b"x" * (BODY_BYTES_MAX + 1)])
async def test_a_signed_reply_that_makes_no_sense_is_unreadable(transport, body):
    """Empty, cut, or too long to be read at all."""

    async def say_it(_: Provider, head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(signed(head, body))

    async with provider(say_it) as one:
        result = await ask(transport, one.account)
        assert brief(result) == (t.UNREADABLE, *SENT[Operation.PAY])


async def test_a_body_without_end_is_not_kept(transport):
    """It is cut off at the cap, not at the deadline."""

    async def say_for_ever(_: Provider, head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(http(200, b"", length=2**40))
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    async with provider(say_for_ever) as one:
        assert (await ask(transport, one.account)).code == t.UNREADABLE


async def test_a_redirect_is_not_followed(transport):
    """A signed charge is for the provider alone."""

    async with provider(say_paid) as elsewhere:

        async def point_elsewhere(_: Provider, head: bytes, writer: asyncio.StreamWriter) -> None:
            url = f"{elsewhere.account.base_url}/v1/charges"
            writer.write(http(307, b"", f"Location: {url}"))

        async with provider(point_elsewhere) as one:
            result = await ask(transport, one.account)
        assert brief(result) == (t.BAD_SIGNATURE, *SENT[Operation.PAY])
        assert elsewhere.requests == 0


async def test_one_provider_that_hangs_does_not_hold_up_another(transport, monkeypatch):
    """When all connections to it are taken, the next charge has not been sent."""
    monkeypatch.setattr(t, "CONNECTIONS_MAX", 2)
    async with provider(say_nothing) as one, provider(say_paid) as other:
        hung = [asyncio.create_task(ask(transport, one.account)) for _ in range(2)]
        await eventually(lambda: one.requests == 2)
        async with asyncio.timeout(t.CALL_SECONDS - 1):
            result = await ask(transport, one.account)
        assert brief(result) == (t.UNREACHED, *NEVER_SENT[Operation.PAY])
        assert one.requests == 2

        good = replace(other.account, channel_code="sim-b")
        assert (await ask(transport, good)).outcome is Outcome.SUCCEEDED
        for task in hung:
            task.cancel()
        await asyncio.wait(hung)


async def test_of_two_calls_the_second_is_not_alone(transport):
    """The first was sent, so not reaching anybody with the second proves nothing."""
    async with provider(say_paid) as one:

        def twice(stamp):
            yield next(SIM.pay(one.account, PAY, stamp))
            url = at(free_port()).base_url
            yield HttpCall(method="POST", url=url, headers={}, body=b"")
            raise AssertionError("nobody answers the second")

        result = await transport.run(
            twice, account=one.account, operation=Operation.PAY, sent_before=False
        )
        assert brief(result) == (t.UNREACHED, *SENT[Operation.PAY])
        assert one.requests == 1


async def test_every_call_has_a_stamp_of_its_own(transport):
    """A nonce is never used twice."""
    seen = []

    def begin(stamp):
        seen.append(stamp)
        yield from ()
        return Result(outcome=Outcome.CLOSED)

    for _ in range(2):
        await transport.run(begin, account=ACCOUNT, operation=Operation.CLOSE, sent_before=False)
    assert seen[0].nonce != seen[1].nonce
    assert abs(seen[0].timestamp - seen[1].timestamp) <= 60


@pytest.mark.parametrize(
    ("operation", "answer", "expected"),
    [
        (Operation.PAY, PostingOutcome(is_booked=True), ("", Outcome.SUCCEEDED, Retry.NONE)),
        (
            Operation.PAY,
            PostingOutcome(is_booked=False, refusal="EXCEEDS_FLOOR"),
            ("BALANCE_NOT_ENOUGH", Outcome.FAILED, Retry.NONE),
        ),
        (Operation.PAY, Unknown("no answer"), (t.LOST, *SENT[Operation.PAY])),
        (Operation.REFUND, Unknown("no answer"), (t.LOST, *SENT[Operation.REFUND])),
        (Operation.PAY, NotExecuted("down"), (t.UNREACHED, *NEVER_SENT[Operation.PAY])),
        (Operation.QUERY, NotExecuted("down"), (t.UNREACHED, *NEVER_SENT[Operation.QUERY])),
    ],
)
async def test_a_wallet_leg_goes_to_the_ledger(operation, answer, expected):
    """An answer decides; no answer is unknown; not executed is as good as not sent."""
    asked = []

    async def ledger(call):
        asked.append(call)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async with Transport(ledger) as transport:
        assert brief(await ask(transport, ACCOUNT, operation, adapter=BALANCE)) == expected
    assert [call.source_no for call in asked] == [NUMBER]
