"""The service through its own door: streams, refusals, events and timers, all of it running."""

import asyncio
import itertools
from datetime import timedelta

import grpc
import pytest
from google.rpc import code_pb2

from mesh.clock import real_now
from mesh.events import pack
from payment import wire
from tests.service.payment.neighbours import Neighbours, attempt_of
from tests.service.payment.scene import TRACE, payment_item, refund_item
from tests.services import fields_of, info_of
from tests.waiting import eventually
from tongbao.channel.v1 import attempt_pb2
from tongbao.channel.v1 import events_pb2 as channel_events
from tongbao.common.v1 import event_pb2, item_pb2, kinds_pb2
from tongbao.ledger.v1 import events_pb2 as ledger_events
from tongbao.payment.v1 import events_pb2, payment_pb2
from tongbao.payment.v1 import payment_service_pb2 as pb
from tongbao.payment.v1 import payment_service_pb2_grpc as pb_grpc

Attempt = attempt_pb2.Attempt
State = payment_pb2.Payment.State
_batches = itertools.count(1)


@pytest.fixture
async def neighbours(ground):
    """Risk, ledger and channel where the running service looks for them."""
    async with Neighbours(ground.settings("payment").socket_dir) as all_three:
        yield all_three


@pytest.fixture
async def service(ground, neighbours):
    """The service in this process, with its consumers and timers."""
    async with ground.run("payment") as handle:
        yield handle


async def answers(call, request, *items):
    """Send the items over one stream; return their results in the order of the items."""
    for item_id, item in enumerate(items, 1):
        item.item_id = item_id
        if not item.context.HasField("deadline"):
            item.context.deadline.FromDatetime(real_now() + timedelta(seconds=10))
    await call.write(request(items=items))
    await call.done_writing()
    results = {result.item_id: result async for answer in call for result in answer.results}
    assert list(sorted(results)) == list(range(1, len(items) + 1))
    return [results[item_id] for item_id in sorted(results)]


async def pay(service, *items):
    stub = pb_grpc.PaymentServiceStub(service.channel("trade"))
    return await answers(stub.StreamPayments(), pb.StreamPaymentsRequest, *items)


async def give_back(service, *items):
    stub = pb_grpc.PaymentServiceStub(service.channel("trade"))
    return await answers(stub.StreamRefunds(), pb.StreamRefundsRequest, *items)


def state_of(service, number, table="payment"):
    sql = f"SELECT state FROM {table} WHERE {table}_no = %(number)s"
    [[state]] = service.rows(sql, number=number)
    return state


async def test_items_are_answered_each_with_its_own(service, neighbours):
    """One stream, three fates: a success, a failure, a refusal that hurts nobody else."""
    good, poor, again = payment_item(), payment_item(user_no="poor"), payment_item(200)
    await pay(service, again)
    again = payment_item(201, payment_no=again.payment_no, trade_no=again.trade_no)
    usual = neighbours.risk.do
    neighbours.risk.do = lambda item: (
        neighbours.risk.blocks(item) if item.user_no == "poor" else usual(item)
    )

    paid, failed, refused = await pay(service, good, poor, again)

    assert paid.payment.state == State.STATE_SUCCEEDED
    assert (paid.payment.payment_no, paid.payment.fee_minor) == (good.payment_no, 1)
    assert paid.payment.app_id == "mall"
    assert failed.payment.state == State.STATE_FAILED
    assert failed.payment.failure_reason == "LIMIT_EXCEEDED"
    assert not refused.HasField("payment")
    assert (refused.status.code, refused.status.reason) == (
        code_pb2.ALREADY_EXISTS, "REQUEST_REUSED",
    )  # fmt: skip


async def test_a_hanging_channel_does_not_hold_up_others(service, neighbours):
    """An item waits for its channel alone; its neighbour on the stream is answered at once."""
    slow, quick = payment_item(), payment_item()
    for item in (slow, quick):
        item.context.deadline.FromDatetime(real_now() + timedelta(seconds=3))
    order = []
    usual = neighbours.channel.do

    async def hangs_for_one(item):
        if item.leg_no.startswith(slow.payment_no):
            await asyncio.Event().wait()
        order.append(item.leg_no)
        return usual(item)

    neighbours.channel.do = hangs_for_one

    first, second = await pay(service, slow, quick)

    assert order == [f"{quick.payment_no}-1"]
    assert first.payment.state == State.STATE_PROCESSING
    assert second.payment.state == State.STATE_SUCCEEDED


MALFORMED = [
    ({"amount_minor": 0},                                     "amount.minor_units"),
    ({"amount_minor": -5},                                    "amount.minor_units"),
    ({"fee_minor": 101},                                      "fee_minor"),
    ({"currency_code": "XXX"},                                "amount.currency_code"),
    ({"tool": kinds_pb2.TOOL_BALANCE},                        "user_no"),
    ({"trade_type": kinds_pb2.TRADE_TYPE_RECHARGE,
      "user_no": "u"},                                        "merchant_id"),
    ({"merchant_id": ""},                                     "merchant_id"),
    ({"payment_no": "short"},                                 "payment_no"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "named"), MALFORMED)
async def test_a_malformed_payment_is_told_what_is_wrong(service, fields, named):
    """The item alone is refused, and no row is written."""
    [result] = await pay(service, payment_item(**fields))

    assert result.status.reason == "INVALID_FIELDS"
    assert named in result.status.message
    assert service.rows("SELECT payment_no FROM payment") == []


async def test_every_violation_of_an_item_is_told_at_once(service):
    """Whoever corrects it corrects it once."""
    item = payment_item(0, currency_code="XXX", merchant_id="")
    item.context.trace_no = ""

    [result] = await pay(service, item)

    for field in ("amount.minor_units", "context.trace_no", "currency_code", "merchant_id"):
        assert field in result.status.message


@pytest.mark.parametrize(
    ("fields", "named"),
    [({"amount_minor": 0}, "amount.minor_units"), ({"fee_minor": 11}, "fee_minor")],
)
async def test_a_malformed_refund_is_told_what_is_wrong(service, fields, named):
    """The same rules as for payments."""
    [paid] = await pay(service, payment_item())
    wanted = {"amount_minor": 10} | fields

    [result] = await give_back(service, refund_item(paid.payment.payment_no, **wanted))

    assert (result.status.reason, named in result.status.message) == ("INVALID_FIELDS", True)


async def test_a_refund_and_its_refusal(service):
    """Reasons and facts travel beside the item."""
    [paid] = await pay(service, payment_item(100))
    number = paid.payment.payment_no

    good, bad = await give_back(service, refund_item(number, 100), refund_item(number, 101))

    assert good.refund.state == payment_pb2.Refund.STATE_SUCCEEDED
    assert (good.refund.payment_no, good.refund.amount.minor_units) == (number, 100)
    assert (bad.status.domain, bad.status.reason) == (
        "payment.tongbao", "REFUND_EXCEEDS_PAYMENT",
    )  # fmt: skip
    assert bad.status.code == code_pb2.FAILED_PRECONDITION
    assert bad.status.metadata["payment_no"] == number


async def test_a_trace_is_read_through_the_door(service):
    """The app of the context owns what is shown."""
    [paid] = await pay(service, payment_item())
    stub = pb_grpc.PaymentServiceStub(service.channel("trade"))
    mine = item_pb2.ItemContext(app_id="mall", trace_no=TRACE)
    theirs = item_pb2.ItemContext(app_id="shop", trace_no=TRACE)

    shown = await stub.ListTraceEntries(pb.ListTraceEntriesRequest(context=mine))
    hidden = await stub.ListTraceEntries(pb.ListTraceEntriesRequest(context=theirs))

    assert [entry.number for entry in shown.entries] == [paid.payment.payment_no]
    assert list(hidden.entries) == []


async def test_the_door_is_for_services_with_a_token(service):
    """Without one nothing is read; without an owner nothing is asked."""
    stub = pb_grpc.PaymentServiceStub(service.raw())
    known = pb_grpc.PaymentServiceStub(service.channel("trade"))

    with pytest.raises(grpc.aio.AioRpcError) as nobody:
        await stub.ListTraceEntries(pb.ListTraceEntriesRequest(), timeout=5)
    with pytest.raises(grpc.aio.AioRpcError) as ownerless:
        await known.ListTraceEntries(pb.ListTraceEntriesRequest())

    assert info_of(nobody.value).reason == "TOKEN_INVALID"
    assert fields_of(ownerless.value) == ["context"]


async def test_channels_event_decides_a_payment_that_was_left_open(ground, service, neighbours):
    """The payer scans later: the event brings success, twice does no more."""
    neighbours.channel.then(neighbours.channel.says(Attempt.STATE_PROCESSING, qr_code="tb://1"))
    item = payment_item()
    [waiting] = await pay(service, item)
    leg = wire.pay_item(
        wire.payment_from_item(item, now=real_now())
    )  # fmt: skip
    attempt = attempt_of(leg, state=Attempt.STATE_SUCCEEDED, cost_minor=2)
    event = channel_events.AttemptSucceeded(attempt=attempt)

    for _ in range(2):
        await service.applied(await ground.tell("channel", event))

    assert waiting.payment.qr_code == "tb://1"
    [told] = service.published(events_pb2.PaymentSucceeded)
    assert (told.payment.payment_no, told.payment.cost_minor) == (item.payment_no, 2)


@pytest.mark.parametrize(
    ("kind", "state", "event"),
    [
        (channel_events.AttemptFailed, Attempt.STATE_FAILED, events_pb2.PaymentFailed),
        (channel_events.AttemptFailed, Attempt.STATE_CLOSED, events_pb2.PaymentFailed),
        (channel_events.AttemptReviewed, Attempt.STATE_REVIEW, events_pb2.PaymentReviewed),
    ],
)
async def test_every_event_of_channel_is_applied(ground, service, neighbours, kind, state, event):
    """What an attempt is, not what its event is called, decides."""
    neighbours.channel.then(neighbours.channel.says(Attempt.STATE_PROCESSING))
    item = payment_item()
    await pay(service, item)
    [leg] = neighbours.channel.asked

    happened = kind(attempt=attempt_of(leg, state=state))
    await service.applied(await ground.tell("channel", happened))

    [told] = service.published(event)
    assert told.payment.payment_no == item.payment_no


async def test_channels_event_decides_a_refund(ground, service, neighbours):
    """An attempt whose operation is a refund belongs to a refund."""
    [paid] = await pay(service, payment_item())
    neighbours.channel.then(neighbours.channel.says(Attempt.STATE_PROCESSING))
    item = refund_item(paid.payment.payment_no, 60)
    await give_back(service, item)
    leg = neighbours.channel.asked[-1]

    attempt = attempt_of(leg, state=Attempt.STATE_FAILED, failure_reason="ACCOUNT_CLOSED")
    event = channel_events.AttemptFailed(attempt=attempt)
    await service.applied(await ground.tell("channel", event))

    [told] = service.published(events_pb2.RefundFailed)
    assert told.refund.failure_reason == "ACCOUNT_CLOSED"
    assert service.rows("SELECT refunded_minor FROM payment") == [(0,)]


async def test_a_refused_posting_calls_a_person(ground, service):
    """Ledger's event opens a case of the app that the event names."""
    [paid] = await pay(service, payment_item())
    refused = ledger_events.PostingRefused(refusal="CREDIT_ACCOUNT_BLOCKED")
    payment = wire.payment_from_item(payment_item(), now=real_now())
    refused.posting.CopyFrom(wire.payment_posting(payment, "COLLECTED"))
    refused.posting.source_no = paid.payment.payment_no
    number = paid.payment.payment_no
    batch_id = f"ledger-payment-test-{next(_batches)}"
    head = event_pb2.EventBatch(batch_id=batch_id).SerializeToString()
    body = pack(refused, number=number, version=1, app_id="mall", trace_no=TRACE, time=real_now())
    await ground.publish("ledger", head + body)
    await service.applied(batch_id)

    [case] = service.rows("SELECT kind, number, app_id FROM exception_case")
    assert case == ("LEDGER_REFUSED", number, "mall")


async def test_an_event_about_nothing_of_ours_is_set_aside(ground, service, neighbours):
    """It cannot be applied and must not be lost; the one beside it is applied."""
    neighbours.channel.then(neighbours.channel.says(Attempt.STATE_PROCESSING))
    item = payment_item()
    await pay(service, item)
    [leg] = neighbours.channel.asked
    fine = attempt_of(leg, state=Attempt.STATE_SUCCEEDED)
    stray = attempt_of(leg, state=Attempt.STATE_SUCCEEDED, app_id="shop")

    events = [channel_events.AttemptSucceeded(attempt=one) for one in (stray, fine)]
    await service.applied(await ground.tell("channel", *events))

    assert state_of(service, item.payment_no) == "succeeded"
    [dead] = service.dead_letters()
    assert dead.app_id == "shop"


async def test_timers_drive_payments_and_refunds_on(service, neighbours):
    """Both were left by a broken neighbour; seconds later they are decided, unasked."""
    [paid] = await pay(service, payment_item())
    neighbours.risk.then(neighbours.risk.breaks)
    neighbours.ledger.then(neighbours.ledger.breaks)
    left = payment_item()
    unfunded = refund_item(paid.payment.payment_no, 60)
    await pay(service, left)
    await give_back(service, unfunded)
    assert state_of(service, left.payment_no) == "created"
    assert state_of(service, unfunded.refund_no, "refund") == "created"

    await service.shift("6 seconds")

    await eventually(lambda: state_of(service, left.payment_no) == "succeeded")
    await eventually(lambda: state_of(service, unfunded.refund_no, "refund") == "succeeded")
    assert service.rows("SELECT due_time FROM payment UNION SELECT due_time FROM refund") == [
        (None,)
    ]
