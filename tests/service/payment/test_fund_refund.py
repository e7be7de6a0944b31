"""Fund a refund: the payment's own posting first, then the merchant's money into transit."""

from datetime import timedelta

import pytest

from payment.states import RefundState
from tests.service.payment.scene import (
    pay,
    payment_item,
    published,
    refund,
    refund_item,
    seed,
    the_payment,
    the_refund,
    told,
)
from tongbao.channel.v1 import attempt_pb2
from tongbao.payment.v1 import events_pb2


async def test_the_call_carries_the_payment_and_the_ask(desk, neighbours):
    """Crediting is asynchronous: the refund may be quicker, so it brings what it takes from."""
    neighbours.channel.then(
        neighbours.channel.says(attempt_pb2.Attempt.STATE_SUCCEEDED, cost_minor=2)
    )
    payment = await pay(desk, payment_item(100, fee_minor=3))
    item = refund_item(payment.payment_no, 40, fee_minor=1)

    await refund(desk, item)

    [asked] = neighbours.ledger.asked
    assert (asked.context.app_id, asked.context.trace_no) == ("mall", payment.trace_no)
    collected, ask = asked.postings
    assert (collected.template, collected.source_no) == ("COLLECTED", payment.payment_no)
    assert (collected.amount.minor_units, collected.fee_minor, collected.cost_minor) == (100, 3, 2)
    assert (collected.channel_code, collected.merchant_id) == ("sim", "mer_1")
    assert (ask.template, ask.source_no) == ("REFUND_ASKED", item.refund_no)
    assert (ask.amount.minor_units, ask.fee_minor, ask.merchant_id) == (40, 1, "mer_1")
    assert ask.business_code == collected.business_code == "MALL"


async def test_a_merchant_without_money_has_no_refund(desk, neighbours):
    """FAILED with REFUND_UNFUNDED, the amount free again, and no channel has heard of it."""
    neighbours.ledger.poor.add("mer_1")
    payment_no = await seed(desk)
    item = refund_item(payment_no, 60)

    answer = await refund(desk, item)

    assert (answer.state, answer.failure_reason) == (RefundState.FAILED, "REFUND_UNFUNDED")
    assert answer.due_time is None
    assert (await the_payment(desk, payment_no)).refunded_minor == 0
    assert neighbours.channel.asked == []
    [(kind, _, payload)] = await published(desk, item.refund_no)
    assert kind == "RefundFailed"
    assert events_pb2.RefundFailed.FromString(payload).refund.failure_reason == "REFUND_UNFUNDED"


async def test_the_amount_of_an_unfunded_refund_can_be_refunded_later(desk, neighbours):
    """The refusal is remembered under its number, not for the payment."""
    neighbours.ledger.poor.add("mer_1")
    payment_no = await seed(desk)
    await refund(desk, refund_item(payment_no, 100))
    neighbours.ledger.poor.clear()

    answer = await refund(desk, refund_item(payment_no, 100))

    assert answer.state is RefundState.SUCCEEDED


SILENCES = [
    # neighbour  step           state it stays in
    ("ledger",  "breaks",       RefundState.CREATED),
    ("ledger",  "breaks_after", RefundState.CREATED),
    ("ledger",  "hangs",        RefundState.CREATED),
    ("ledger",  "declines",     RefundState.CREATED),
    ("channel", "breaks",       RefundState.PROCESSING),
    ("channel", "breaks_after", RefundState.PROCESSING),
    ("channel", "hangs",        RefundState.PROCESSING),
]  # fmt: skip


@pytest.mark.parametrize(("name", "step", "state"), SILENCES)
async def test_silence_leaves_a_refund_where_it_is_and_due(desk, neighbours, name, step, state):
    """Unknown is not failed: the amount stays taken, and somebody looks again in 5 s."""
    payment_no = await seed(desk)
    item = refund_item(payment_no, 60)
    neighbour = getattr(neighbours, name)
    neighbour.then(getattr(neighbour, step))

    answer = await refund(desk, item, seconds=0.6)

    row = await the_refund(desk, item.refund_no)
    assert (answer.state, row.state) == (state, state)
    assert row.due_time - row.create_time == timedelta(seconds=5)
    assert (await the_payment(desk, payment_no)).refunded_minor == 60
    assert await told(desk, item.refund_no) == []
