"""The adapter and the transport against the running simulator: every fault ends in the truth."""

from functools import partial

import pytest
from aiohttp import web

from channel import transport as t
from channel.adapters import ADAPTERS
from channel.adapters.spi import (
    Account,
    Operation,
    Outcome,
    PayRequest,
    RawNotification,
    Ref,
    RefundRequest,
    Result,
    Retry,
)
from channel.transport import Transport
from mesh.clock import real_seconds
from mesh.context import within
from tests.simulator import Inbox, Simulator, new_number, open_inbox, start_simulator
from tests.waiting import eventually

SIM = ADAPTERS["sim"]
WHO = {"user_no": "u1", "business_code": "MALL", "trace_no": "MALL-1"}


class Channel:
    """One account at the simulator, driven the way a flow would."""

    def __init__(self, simulator: Simulator, inbox: Inbox, transport: Transport, code: str):
        self.inbox, self.transport = inbox, transport
        self.account = Account(
            channel_code=code,
            base_url=simulator.base_url(code),
            provider_account=code,
            secret=simulator.secrets[code],
            cost_ppm=0,
        )

    async def pay(self, number: str, amount_minor: int, *, sent_before: bool = False) -> Result:
        request = PayRequest(
            attempt_no=number,
            amount_minor=amount_minor,
            currency_code="CNY",
            subject="",
            notify_url=self.inbox.url,
            **WHO,
        )
        return await self.run(Operation.PAY, SIM.pay, request, sent_before)

    async def refund(self, number: str, original: str, amount_minor: int) -> Result:
        request = RefundRequest(
            attempt_no=number,
            original_attempt_no=original,
            provider_no="",
            amount_minor=amount_minor,
            currency_code="CNY",
            notify_url=self.inbox.url,
            **WHO,
        )
        return await self.run(Operation.REFUND, SIM.refund, request)

    async def query(self, number: str) -> Result:
        return await self.run(Operation.QUERY, SIM.query, self.ref(number))

    async def close(self, number: str) -> Result:
        return await self.run(Operation.CLOSE, SIM.close, self.ref(number))

    async def query_refund(self, number: str) -> Result:
        return await self.run(Operation.QUERY_REFUND, SIM.query_refund, self.ref(number))

    def ref(self, number: str) -> Ref:
        return Ref(attempt_no=number, amount_minor=1, currency_code="CNY", **WHO)

    async def run(self, operation, method, order, sent_before=False) -> Result:
        return await self.transport.run(
            partial(method, self.account, order),
            account=self.account,
            operation=operation,
            sent_before=sent_before,
        )

    async def paid(self, amount_minor: int = 1000) -> str:
        """The number of a charge that was paid."""
        number = new_number()
        await self.pay(number, amount_minor)
        await self.inbox.wait_for(lambda: self.inbox.about(number))
        return number

    def notification(self, number: str) -> RawNotification:
        """The callback about this number as the callback gateway would keep it."""
        [(body, headers)] = [
            (body, headers) for said, body, headers in self.inbox.came if said["number"] == number
        ]
        return RawNotification(
            path="/callbacks/sim?via=test",
            headers={name.lower(): value for name, value in headers.items()},
            body=body,
            received_at=real_seconds(),
        )


@pytest.fixture(scope="module")
async def simulator(tmp_path_factory):
    async with start_simulator(tmp_path_factory.mktemp("sim"), pay_delay_ms=5) as running:
        yield running


@pytest.fixture(scope="module")
async def patient(tmp_path_factory):
    """One whose payers take an hour."""
    folder = tmp_path_factory.mktemp("patient")
    async with start_simulator(folder, pay_delay_ms=3_600_000) as running:
        yield running


@pytest.fixture(scope="module")
async def inbox():
    async with open_inbox() as opened:
        yield opened


@pytest.fixture
async def transport():
    async def no_ledger(call):
        raise AssertionError(f"nobody should book {call}")

    async with Transport(no_ledger) as opened:
        yield opened


@pytest.fixture
def channel(simulator, inbox, transport):
    return Channel(simulator, inbox, transport, "sim-a")


async def test_a_charge_waits_for_its_payer_and_is_paid(channel):
    """Reply, query and callback; the callback verifies and says what moved."""
    number = new_number()
    made = await channel.pay(number, 1234)
    assert (made.outcome, bool(made.qr_code)) == (Outcome.ACTION, True)
    await channel.inbox.wait_for(lambda: channel.inbox.about(number))

    raw = channel.notification(number)
    assert SIM.peek(raw).number == number
    said = SIM.read_notification(channel.account, raw)
    assert (said.number, said.operation) == (number, Operation.PAY)
    assert said.result == await channel.query(number)
    assert (said.result.amount_minor, said.result.currency_code) == (1234, "CNY")
    assert said.result.provider_no == made.provider_no


async def test_a_refund_is_taken_on_and_done_later(channel):
    """PENDING first; more than was paid is refused for good."""
    charge, refund = await channel.paid(), new_number("RF")
    assert (await channel.refund(refund, charge, 600)).outcome is Outcome.PENDING
    await channel.inbox.wait_for(lambda: channel.inbox.about(refund))
    said = SIM.read_notification(channel.account, channel.notification(refund))
    assert (said.operation, said.result.amount_minor) == (Operation.REFUND, 600)
    assert said.result == await channel.query_refund(refund)

    refused = await channel.refund(new_number("RF"), charge, 401)
    assert (refused.outcome, refused.retry) == (Outcome.FAILED, Retry.NONE)
    assert refused.code == "REFUND_EXCEEDS"


async def test_a_lost_reply_is_unknown_until_the_query_tells(channel):
    """Processed, then hung."""
    number = new_number()
    with within(0.5):
        result = await channel.pay(number, 1091)
    assert (result.code, result.outcome) == (t.LOST, Outcome.UNKNOWN)

    async def is_paid():
        return (await channel.query(number)).outcome is Outcome.SUCCEEDED

    await eventually(is_paid)


@pytest.mark.parametrize("digits", [92, 97])
async def test_a_lost_request_is_unknown_and_then_not_found(channel, digits):
    """Reset or hung before processing; closing what is not there is no answer either."""
    number = new_number()
    with within(0.5):
        result = await channel.pay(number, 1000 + digits)
    assert (result.code, result.retry) == (t.LOST, Retry.QUERY)
    assert (await channel.query(number)).outcome is Outcome.NOT_FOUND
    assert (await channel.close(number)).outcome is Outcome.NOT_FOUND


async def test_a_charge_can_be_refused_after_it_was_taken_on(channel):
    """By the payer's bank: another channel would not help."""
    number = await channel.paid(1094)
    said = SIM.read_notification(channel.account, channel.notification(number))
    assert (said.result.outcome, said.result.retry) == (Outcome.FAILED, Retry.NONE)
    assert said.result == await channel.query(number)


async def test_a_wrong_amount_is_reported_as_it_moved(channel):
    """Who applies the result compares; the adapter does not hide it."""
    number = await channel.paid(1096)
    assert (await channel.query(number)).amount_minor == 1097


async def test_an_outage_lets_a_charge_go_elsewhere_at_once(simulator, inbox, transport):
    """Not so when the number was sent before."""
    a, b = (Channel(simulator, inbox, transport, code) for code in ("sim-a", "sim-b"))
    number = await a.paid()
    await simulator.outage("sim-a", on=True)
    try:
        result = await a.pay(new_number(), 1000)
        assert (result.outcome, result.retry) == (Outcome.FAILED, Retry.ELSEWHERE)
        again = await a.pay(number, 1000, sent_before=True)
        assert (again.outcome, again.retry) == (Outcome.UNKNOWN, Retry.QUERY)
        assert (await a.query(number)).outcome is Outcome.UNKNOWN
        assert (await b.pay(new_number(), 1000)).outcome is Outcome.ACTION
    finally:
        await simulator.outage("sim-a", on=False)
    assert (await a.pay(number, 1000, sent_before=True)).outcome is Outcome.SUCCEEDED


async def test_a_number_that_stands_for_something_else_is_unknown(channel):
    """Something may have been charged under it."""
    number = await channel.paid()
    result = await channel.pay(number, 1001)
    assert (result.outcome, result.retry) == (Outcome.UNKNOWN, Retry.QUERY)
    assert result.code == "CHARGE_EXISTS"


async def test_a_system_error_and_a_bad_signature_are_unknown(simulator, channel):
    """One was not processed, the other was: only the query can tell."""
    numbers = {"system_error": new_number(), "bad_signature": new_number()}
    codes = {}
    for fault, number in numbers.items():
        await simulator.rule(fault, op="charge", number=number)
        result = await channel.pay(number, 1000)
        assert (result.outcome, result.retry) == (Outcome.UNKNOWN, Retry.QUERY)
        codes[fault] = result.code
    assert codes == {"system_error": "SYSTEM_ERROR", "bad_signature": t.BAD_SIGNATURE}
    assert (await channel.query(numbers["system_error"])).outcome is Outcome.NOT_FOUND
    assert (await channel.query(numbers["bad_signature"])).outcome is not Outcome.NOT_FOUND


async def test_a_charge_is_closed_before_or_found_paid(channel, patient, inbox, transport):
    """Closing says whether money moved: CLOSED, or ask."""
    late = Channel(patient, inbox, transport, "sim-b")
    unpaid = new_number()
    await late.pay(unpaid, 1000)
    assert (await late.close(unpaid)).outcome is Outcome.CLOSED
    assert (await late.query(unpaid)).outcome is Outcome.CLOSED

    result = await channel.close(await channel.paid())
    assert (result.outcome, result.retry) == (Outcome.UNKNOWN, Retry.QUERY)
    assert result.code == "ALREADY_PAID"


async def test_our_own_wrong_secret_never_fails_a_charge(simulator, inbox, transport):
    """The simulator's refusal is not signed, and could be anybody's."""
    wrong = Channel(simulator, inbox, transport, "sim-a")
    wrong.account = Account(
        channel_code="sim-a",
        base_url=simulator.base_url("sim-a"),
        provider_account="sim-a",
        secret="not the one that was agreed",
        cost_ppm=0,
    )
    result = await wrong.pay(new_number(), 1000)
    assert (result.code, result.outcome) == (t.BAD_SIGNATURE, Outcome.UNKNOWN)
    assert "401" in result.message


async def test_the_simulator_takes_our_acknowledgement(simulator, transport, inbox):
    """Not taken, it comes again; taken, the journal says so."""
    bodies = [SIM.ack(accepted=False), SIM.ack(accepted=True)]
    came = []

    async def gateway(request: web.BaseRequest) -> web.Response:
        came.append(await request.read())
        return web.Response(body=bodies[len(came) - 1])

    runner = web.ServerRunner(web.Server(gateway))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    channel = Channel(simulator, inbox, transport, "sim-a")
    channel.inbox = type("Target", (), {"url": f"http://127.0.0.1:{site.port}/"})()
    number = new_number()
    await channel.pay(number, 1000)
    await eventually(
        lambda: f'"tell":["sim-a","charge","{number}"]' in simulator.journal.read_text()
    )
    assert len(came) == 2
    assert came[0] == came[1]
    await runner.cleanup()
