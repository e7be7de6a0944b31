"""Create a payment: one number, one payment, one charge, however often it is sent."""

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta

import psycopg
import pytest

from mesh.batch import Rejected, Unknown
from mesh.errors import Refused
from payment.flow import _neighbours
from payment.states import PaymentState
from tests.service.payment.scene import (
    holding,
    open_replica,
    pay,
    payment_item,
    published,
    race,
    the_payment,
    together,
    told,
    waiting,
)
from tongbao.channel.v1 import attempt_pb2
from tongbao.common.v1 import kinds_pb2
from tongbao.payment.v1 import events_pb2

Attempt = attempt_pb2.Attempt


async def test_a_payment_succeeds(desk, neighbours):
    """The answer, the row and the event say the same; risk came first, and channel once."""
    item = payment_item(1_234, fee_minor=12)
    neighbours.channel.then(neighbours.channel.says(Attempt.STATE_SUCCEEDED, cost_minor=5))

    payment = await pay(desk, item)

    assert payment.state is PaymentState.SUCCEEDED
    assert (payment.amount_minor, payment.fee_minor, payment.cost_minor) == (1_234, 12, 5)
    assert (payment.channel_code, payment.due_time) == ("sim", None)
    row = await the_payment(desk, item.payment_no)
    assert (row.state, row.version, row.cost_minor) == (payment.state, 3, 5)
    [(kind, version, payload)] = await published(desk, item.payment_no)
    assert (kind, version) == ("PaymentSucceeded", 3)
    told_payment = events_pb2.PaymentSucceeded.FromString(payload).payment
    assert (told_payment.payment_no, told_payment.cost_minor) == (item.payment_no, 5)
    [asked] = neighbours.risk.asked
    assert (asked.payment_no, asked.context.app_id) == (item.payment_no, "mall")
    [leg] = neighbours.channel.asked
    assert (leg.leg_no, leg.operation) == (f"{item.payment_no}-1", attempt_pb2.OPERATION_PAY)
    assert (leg.amount.minor_units, leg.business_code, leg.subject) == (1_234, "MALL", "tea")


async def test_a_payment_that_risk_blocks_fails_and_no_channel_hears_of_it(desk, neighbours):
    """A refused payment is a payment that FAILED, with the cause."""
    item = payment_item()
    neighbours.risk.then(neighbours.risk.blocks)

    payment = await pay(desk, item)

    assert (payment.state, payment.failure_reason) == (PaymentState.FAILED, "LIMIT_EXCEEDED")
    assert payment.due_time is None
    assert neighbours.channel.asked == []
    assert await told(desk, item.payment_no) == ["PaymentFailed"]


async def test_a_payment_no_channel_offers_fails(desk, neighbours):
    """NO_CHANNEL is definite: nobody was charged."""
    item = payment_item()
    neighbours.channel.then(neighbours.channel.refuses("NO_CHANNEL"))

    payment = await pay(desk, item)

    assert (payment.state, payment.failure_reason) == (PaymentState.FAILED, "NO_CHANNEL")
    assert await told(desk, item.payment_no) == ["PaymentFailed"]


async def test_a_payer_who_has_to_scan_is_shown_the_code(desk, neighbours):
    """The payment stays open, with the code in the row too."""
    item = payment_item()
    step = neighbours.channel.says(Attempt.STATE_PROCESSING, qr_code="tb://1")
    neighbours.channel.then(step)

    payment = await pay(desk, item)

    assert (payment.state, payment.qr_code) == (PaymentState.PROCESSING, "tb://1")
    assert (await the_payment(desk, item.payment_no)).qr_code == "tb://1"
    assert payment.due_time is not None
    assert await told(desk, item.payment_no) == []


@pytest.mark.parametrize("reason", ["REQUEST_REUSED", "INVALID_FIELDS"])
async def test_a_refusal_that_may_hide_a_charge_fails_nothing(desk, neighbours, reason):
    """Only what says that no channel has heard of the leg ends the payment."""
    item = payment_item()
    neighbours.channel.then(neighbours.channel.refuses(reason))

    payment = await pay(desk, item)

    assert payment.state is PaymentState.PROCESSING
    assert payment.due_time is not None


SILENCES = [
    # neighbour  step           state it stays in
    ("risk",    "breaks",       PaymentState.CREATED),
    ("risk",    "breaks_after", PaymentState.CREATED),
    ("risk",    "hangs",        PaymentState.CREATED),
    ("risk",    "declines",     PaymentState.CREATED),
    ("channel", "breaks",       PaymentState.PROCESSING),
    ("channel", "breaks_after", PaymentState.PROCESSING),
    ("channel", "hangs",        PaymentState.PROCESSING),
]  # fmt: skip


@pytest.mark.parametrize(("name", "step", "state"), SILENCES)
async def test_silence_leaves_a_payment_where_it_is_and_due(desk, neighbours, name, step, state):
    """Unknown is not failed: the caller gets the open payment, and somebody looks again in 5 s."""
    item = payment_item()
    neighbour = getattr(neighbours, name)
    neighbour.then(getattr(neighbour, step))

    payment = await pay(desk, item, seconds=0.6)

    row = await the_payment(desk, item.payment_no)
    assert (payment.state, row.state) == (state, state)
    assert row.due_time - row.create_time == timedelta(seconds=5)
    assert await told(desk, item.payment_no) == []


async def test_a_payment_that_exists_is_not_told_as_not_executed(dsn, neighbours):
    """The move after risk's answer cannot get its lock: the caller gets the open payment.

    Told NOT_EXECUTED it would take the payment for one that never was, and try another.
    """
    item = payment_item()
    async with AsyncExitStack() as stack:
        desk = await open_replica(stack, dsn, neighbours.folder, lock_timeout="100ms")
        holder = await stack.enter_async_context(await psycopg.AsyncConnection.connect(dsn))

        async def locks_and_passes(asked):
            hold = "SELECT 1 FROM payment WHERE payment_no = %s FOR UPDATE"
            await holder.execute(hold, [asked.payment_no])
            return neighbours.risk.do(asked)

        neighbours.risk.then(locks_and_passes)
        payment = await pay(desk, item)

    assert payment.state is PaymentState.CREATED
    assert neighbours.channel.asked == []


@pytest.mark.parametrize("name", ["risk", "channel"])
async def test_patience_ends_even_without_a_deadline(desk, neighbours, name, monkeypatch):
    """A hanging neighbour would hold the work, and with it a drain, for good."""
    monkeypatch.setattr(_neighbours, "PATIENCE_SECONDS", 0.3)
    neighbour = getattr(neighbours, name)
    neighbour.then(neighbour.hangs)

    payment = await pay(desk, payment_item(), seconds=None)

    assert payment.due_time is not None


async def test_a_repetition_shows_the_present_and_drives_nothing(desk, neighbours):
    """A second call for an open payment is answered at once, and nobody is asked again."""
    item = payment_item()
    neighbours.channel.then(neighbours.channel.breaks_after)
    await pay(desk, item)

    again = await pay(desk, item)

    assert again.state is PaymentState.PROCESSING
    assert again == await the_payment(desk, item.payment_no)
    assert (len(neighbours.risk.asked), len(neighbours.channel.asked)) == (1, 1)


async def test_copies_at_once_make_one_payment_and_one_charge(desk, neighbours):
    """Ten copies through one replica: one is carried out, nine see it on its way."""
    item = payment_item()

    answers = await together(*[pay(desk, item) for _ in range(10)])

    assert {answer.payment_no for answer in answers} == {item.payment_no}
    assert await told(desk, item.payment_no) == ["PaymentSucceeded"]
    assert (len(neighbours.risk.asked), len(neighbours.channel.asked)) == (1, 1)


TAKE = """
INSERT INTO payment (payment_no, app_id, business_code, trace_no, trade_no, trade_type, tool,
    currency_code, amount_minor, merchant_id, user_no, subject, fee_minor, state, fingerprint,
    due_time)
VALUES (%s, 'mall', '', '', '', 'COLLECT', 'QR_PAYER', 'CNY', 1, '', '', '', 0, 'created', 'x',
    now())
"""


async def test_replicas_that_race_for_a_number_agree(replicas, dsn, neighbours):
    """Two replicas wait for a number that a third party gives up: one of them creates.

    The other one cannot see the winner's row in the statement that waited for it; without
    the second look it would have nothing to say.
    """
    desks, item = await replicas(2), payment_item()
    calls = [pay(desk, item) for desk in desks]

    answers = await race(dsn, 2, calls, TAKE, item.payment_no, rolls_back=True)

    assert {answer.payment_no for answer in answers} == {item.payment_no}
    looked = [sum(desk.db.sizes().get("seek_payment", {}).values()) for desk in desks]
    assert sorted(looked) == [0, 1]
    assert await told(desks[0], item.payment_no) == ["PaymentSucceeded"]
    assert len(neighbours.channel.asked) == 1


async def test_a_number_committed_while_we_wait_is_found(desk, dsn):
    """The number commits under our waiting statement with other content: REQUEST_REUSED."""
    item = payment_item()

    [error] = await race(dsn, 1, [pay(desk, item)], TAKE, item.payment_no)

    assert (error.domain, error.reason) == ("tongbao", "REQUEST_REUSED")


@pytest.mark.parametrize(
    "other",
    [
        {"amount_minor": 101},
        {"currency_code": "USD"},
        {"fee_minor": 2},
        {"tool": kinds_pb2.TOOL_BALANCE},
        {"app_id": "shop"},
    ],
)
async def test_a_reused_number_is_refused(desk, other):
    """The same number with other content, or of another app, shows nothing of what it holds."""
    item = payment_item()
    await pay(desk, item)

    changed = {"trade_no": item.trade_no, "payment_no": item.payment_no} | other
    with pytest.raises(Refused) as refusal:
        await pay(desk, payment_item(**changed))

    assert refusal.value.reason == "REQUEST_REUSED"
    assert refusal.value.facts == {"field": "payment_no", "number": item.payment_no}


async def test_a_lost_connection_is_unknown_and_can_be_repeated(desk, dsn, neighbours):
    """We do not guess; the number makes the second try safe."""
    item = payment_item()
    async with holding(dsn, TAKE, item.payment_no, rolls_back=True) as holder:
        call = asyncio.ensure_future(together(pay(desk, item)))
        await waiting(dsn, 1)
        await holder.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        [error] = await call

    payment = await pay(desk, item)

    assert isinstance(error, Unknown)
    assert payment.state is PaymentState.SUCCEEDED
    assert len(neighbours.channel.asked) == 1


async def test_payments_at_once_share_statements(desk, neighbours):
    """A hundred callers need one insert, and each gets its own payment."""
    items = [payment_item(100 + place) for place in range(100)]

    answers = await together(*[pay(desk, item) for item in items])

    assert [answer.amount_minor for answer in answers] == list(range(100, 200))
    assert {answer.state for answer in answers} == {PaymentState.SUCCEEDED}
    assert desk.db.sizes()["add_payment"] == {100: 1}
    assert sum(desk.db.sizes()["move_payment"].values()) < 40


async def test_a_row_the_table_refuses_does_not_hurt_its_neighbours(desk):
    """What validation lets through by mistake fails alone, although it shares its statement."""
    items = [payment_item(fee_minor=101 if place == 3 else 1) for place in range(8)]

    answers = await together(*[pay(desk, item) for item in items])

    failed = [place for place, answer in enumerate(answers) if isinstance(answer, Exception)]
    assert failed == [3]
    assert isinstance(answers[3].__cause__, Rejected)
