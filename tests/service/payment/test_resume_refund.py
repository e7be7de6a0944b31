"""Resume a refund: after a crash at any point the timer leads to exactly one outcome."""

import asyncio

import pytest

from payment.flow.resume_refund import resume_refund
from payment.states import RefundState
from tests.service.payment.scene import (
    on_behalf_of,
    refund,
    refund_item,
    seed,
    the_payment,
    the_refund,
    told,
)
from tests.waiting import eventually
from tongbao.channel.v1 import attempt_pb2

LADDER = [5, 10, 30, 60, 300, 900, 1_800, 3_600, 3_600]


async def resume(desk, refund_no):
    """Look at a refund as the timer does."""
    with on_behalf_of():
        await resume_refund(desk, app_id="mall", refund_no=refund_no)


async def dies(desk, item, neighbour):
    """Carry out a refund in a process that dies once `neighbour` has the item."""
    process = asyncio.create_task(refund(desk, item))
    await eventually(lambda: neighbour.asked)
    process.cancel()
    await asyncio.wait([process])
    assert process.cancelled()


CRASHES = [
    # dies while it waits for     the state it leaves
    ("ledger",  "hangs",          RefundState.CREATED),
    ("ledger",  "hangs_after",    RefundState.CREATED),
    ("channel", "hangs",          RefundState.PROCESSING),
    ("channel", "hangs_after",    RefundState.PROCESSING),
]  # fmt: skip


@pytest.mark.parametrize(("name", "step", "left"), CRASHES)
async def test_after_a_crash_there_is_one_outcome(replicas, neighbours, name, step, left):
    """Another replica goes on from the row; the ledger books once, channel gives back once."""
    dead, alive = await replicas(2)
    payment_no = await seed(dead)
    item = refund_item(payment_no, 60)
    neighbour = getattr(neighbours, name)
    neighbour.then(getattr(neighbour, step))
    await dies(dead, item, neighbour)
    assert (await the_refund(alive, item.refund_no)).state is left

    await resume(alive, item.refund_no)
    await resume(alive, item.refund_no)

    row = await the_refund(alive, item.refund_no)
    assert (row.state, row.due_time) == (RefundState.SUCCEEDED, None)
    assert await told(alive, item.refund_no) == ["RefundSucceeded"]
    booked = {f"COLLECTED {payment_no}", f"REFUND_ASKED {item.refund_no}"}
    assert set(neighbours.ledger.effects) == booked
    assert list(neighbours.channel.effects) == [f"{item.refund_no}-1"]
    assert (await the_payment(alive, payment_no)).refunded_minor == 60


async def test_an_unfunded_refund_whose_answer_was_lost_fails_once(desk, neighbours):
    """The ledger remembers its refusal: asked again it says the same, and the amount is free."""
    neighbours.ledger.poor.add("mer_1")
    payment_no = await seed(desk)
    item = refund_item(payment_no, 60)
    neighbours.ledger.then(neighbours.ledger.breaks_after)
    await refund(desk, item)
    neighbours.ledger.poor.clear()  # Too late: what was refused stays refused.

    await resume(desk, item.refund_no)
    await resume(desk, item.refund_no)

    row = await the_refund(desk, item.refund_no)
    assert (row.state, row.failure_reason) == (RefundState.FAILED, "REFUND_UNFUNDED")
    assert await told(desk, item.refund_no) == ["RefundFailed"]
    assert (await the_payment(desk, payment_no)).refunded_minor == 0
    assert neighbours.channel.asked == []


async def test_looks_at_an_open_refund_grow_rarer(desk, neighbours):
    """The same ladder as for payments; the refund itself does not change."""
    item = refund_item(await seed(desk), 60)
    neighbours.channel.then(neighbours.channel.says(attempt_pb2.Attempt.STATE_PROCESSING))
    answer = await refund(desk, item)
    waits = [(answer.due_time - answer.create_time).total_seconds()]

    for tries in range(1, len(LADDER)):
        before = desk.clock.now()
        await resume(desk, item.refund_no)
        row = await the_refund(desk, item.refund_no)
        assert (row.tries, row.version) == (tries, answer.version)
        waits.append((row.due_time - before).total_seconds())

    assert [int(wait) for wait in waits] == LADDER
