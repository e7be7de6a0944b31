"""Close: channel never hears of it, or ends its leg; whoever was quicker is believed."""

import asyncio

import pytest

from mesh.errors import Refused
from payment.flow.apply_result import apply_result
from payment.states import PaymentState
from tests.service.payment.scene import (
    cases_of,
    close,
    pay,
    payment_item,
    race,
    the_payment,
    told,
    word,
)
from tests.waiting import eventually
from tongbao.channel.v1 import attempt_pb2

Attempt = attempt_pb2.Attempt
ROW = "SELECT 1 FROM payment WHERE payment_no = %s FOR UPDATE"


async def processing(desk, neighbours, **fields):
    """An item whose payer has a code to scan."""
    item = payment_item(**fields)
    neighbours.channel.then(neighbours.channel.says(Attempt.STATE_PROCESSING, qr_code="pay://1"))
    assert (await pay(desk, item)).state is PaymentState.PROCESSING
    return item


async def test_a_payment_that_waits_for_its_payer_is_ended_by_channel(desk, neighbours):
    """The leg is the one that was submitted; CLOSED, told once; again it is the same."""
    item = await processing(desk, neighbours)

    closed = await close(desk, item)

    assert closed.state is PaymentState.CLOSED
    assert (closed.due_time, closed.qr_code, closed.failure_reason) == (None, "", "")
    [asked], [submitted] = neighbours.channel.closed, neighbours.channel.asked
    for one in (asked.leg, submitted):
        one.ClearField("item_id")
        one.ClearField("context")
    assert asked.leg == submitted
    assert await told(desk, item.payment_no) == ["PaymentFailed"]
    assert await close(desk, item) == await the_payment(desk, item.payment_no)
    assert len(neighbours.channel.closed) == 1


@pytest.mark.parametrize(
    ("state", "after"),
    [
        (Attempt.STATE_SUCCEEDED, PaymentState.SUCCEEDED),
        (Attempt.STATE_FAILED, PaymentState.FAILED),
        (Attempt.STATE_REVIEW, PaymentState.REVIEW),
        (Attempt.STATE_PROCESSING, PaymentState.PROCESSING),
    ],
)
async def test_what_channel_says_is_applied(desk, neighbours, state, after):
    """However the leg has ended; open, it stays due."""
    item = await processing(desk, neighbours)
    neighbours.channel.effects[f"{item.payment_no}-1"].state = state
    neighbours.channel.close_script.append(neighbours.channel.do)

    closed = await close(desk, item)

    assert closed.state is after
    assert (closed.due_time is not None) is (after is PaymentState.PROCESSING)


async def test_a_payer_who_is_paying_refuses(desk, neighbours):
    """Nothing has changed."""
    item = await processing(desk, neighbours)
    before = await the_payment(desk, item.payment_no)
    neighbours.channel.close_script.append(neighbours.channel.refuses("PAYER_IS_PAYING"))
    with pytest.raises(Refused) as refused:
        await close(desk, item)
    assert refused.value.reason == "PAYER_IS_PAYING"
    assert await the_payment(desk, item.payment_no) == before


@pytest.mark.parametrize("step", ["breaks", "hangs"])
async def test_a_silent_channel_decides_nothing(desk, neighbours, step):
    """PROCESSING and due; its event ends it."""
    item = await processing(desk, neighbours)
    neighbours.channel.close_script.extend([getattr(neighbours.channel, step)] * 20)
    closed = await close(desk, item, seconds=0.5)
    assert closed.state is PaymentState.PROCESSING
    assert closed.due_time is not None
    ended = await apply_result(desk, attempt=word(item.payment_no, "closed"))
    assert ended.state is PaymentState.CLOSED


async def test_a_payment_that_was_never_heard_of_is_written_down_as_closed(desk, neighbours):
    """The call that comes late finds it so, no channel hears of it, and risk is to let go."""
    item = payment_item()

    closed = await close(desk, item)

    assert (closed.state, closed.version) == (PaymentState.CLOSED, 1)
    assert (await pay(desk, item)).state is PaymentState.CLOSED
    assert neighbours.channel.asked == neighbours.channel.closed == []
    assert await told(desk, item.payment_no) == ["PaymentFailed"] * len(neighbours.risk.asked)


async def unjudged(desk, neighbours):
    """A payment that is CREATED: its item, the task that carries it out, and risk's gate."""
    gate = asyncio.Event()

    async def thinks(item):
        await gate.wait()
        return neighbours.risk.do(item)

    neighbours.risk.then(thinks)
    item = payment_item()
    paying = asyncio.create_task(pay(desk, item))

    async def written():
        return await the_payment(desk, item.payment_no)

    await eventually(written)
    assert (await written()).state is PaymentState.CREATED
    await eventually(lambda: len(neighbours.risk.asked) == 1)
    return item, paying, gate


async def test_a_payment_that_risk_has_not_judged_is_not_sent_after_its_close(
    desk, replicas, neighbours
):
    """Withdrawn while risk thinks: no channel hears of it, and risk is told again to let go."""
    item, paying, gate = await unjudged(desk, neighbours)
    [other] = await replicas(1)

    closed = await close(other, item)
    gate.set()
    paid = await paying

    assert (closed.state, paid.state) == (PaymentState.CLOSED, PaymentState.CLOSED)
    assert neighbours.channel.asked == neighbours.channel.closed == []
    assert await told(desk, item.payment_no) == ["PaymentFailed", "PaymentFailed"]


async def test_submitting_and_closing_at_once_have_one_winner(dsn, replicas, neighbours):
    """Both wait for the row. Withdrawn, or submitted and then ended by channel: never both."""
    one, other = await replicas(2)
    item, paying, gate = await unjudged(one, neighbours)
    neighbours.channel.then(neighbours.channel.says(Attempt.STATE_PROCESSING))

    async def submits():
        gate.set()
        return await paying

    await race(dsn, 2, [submits(), close(other, item)], ROW, item.payment_no)

    payment = await the_payment(one, item.payment_no)
    assert payment.state is PaymentState.CLOSED
    assert len(neighbours.channel.asked) == len(neighbours.channel.closed)


async def test_what_has_succeeded_stays_succeeded(desk, neighbours):
    """Nobody is asked."""
    item = payment_item()
    await pay(desk, item)
    assert (await close(desk, item)).state is PaymentState.SUCCEEDED
    assert neighbours.channel.closed == []


async def test_a_provider_that_charges_what_was_closed_opens_a_case(desk, neighbours):
    """REVIEW, LATE_SUCCESS: a person decides."""
    item = await processing(desk, neighbours)
    await close(desk, item)
    [attempt] = neighbours.channel.effects.values()
    late = word(item.payment_no, "review", attempt_no=attempt.attempt_no, reported_minor=0)
    assert (await apply_result(desk, attempt=late)).state is PaymentState.REVIEW
    assert [kind for kind, _ in await cases_of(desk, item.payment_no)] == ["LATE_SUCCESS"]


async def test_another_content_is_refused(desk, neighbours):
    """Also another app's payment of this number."""
    item = await processing(desk, neighbours)
    for other in (
        payment_item(101, payment_no=item.payment_no, trade_no=item.trade_no),
        payment_item(payment_no=item.payment_no, trade_no=item.trade_no, app_id="other"),
    ):
        with pytest.raises(Refused) as refused:
            await close(desk, other)
        assert refused.value.reason == "REQUEST_REUSED"
    assert neighbours.channel.closed == []


async def test_a_leg_that_no_channel_takes_has_failed(desk, neighbours):
    """There was none to charge it, so nobody was charged."""
    item = await processing(desk, neighbours)
    neighbours.channel.close_script.append(neighbours.channel.refuses("NO_CHANNEL"))
    closed = await close(desk, item)
    assert (closed.state, closed.failure_reason) == (PaymentState.FAILED, "NO_CHANNEL")
