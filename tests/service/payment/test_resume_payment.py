"""Resume: after a crash at any point the timer leads to exactly one outcome."""

import asyncio

import pytest

from mesh.due import run_due
from payment.flow.resume_payment import resume_payment
from payment.states import PaymentState
from payment.store.payment import add_payment, postpone_payment
from payment.wire import content_of, payment_from_item
from payment.workers import DUE
from tests.service.payment.scene import (
    on_behalf_of,
    pay,
    payment_item,
    seed,
    the_payment,
    told,
)
from tests.waiting import eventually
from tongbao.channel.v1 import attempt_pb2

LADDER = [5, 10, 30, 60, 300, 900, 1_800, 3_600, 3_600]
[PAYMENTS] = [due for due in DUE if due.table == "payment"]


async def resume(desk, payment_no):
    """Look at a payment as the timer does."""
    with on_behalf_of():
        await resume_payment(desk, app_id="mall", payment_no=payment_no)


async def dies(desk, item, neighbour):
    """Carry out a payment in a process that dies once `neighbour` has the item."""
    process = asyncio.create_task(pay(desk, item))
    await eventually(lambda: neighbour.asked)
    process.cancel()
    await asyncio.wait([process])
    assert process.cancelled()


CRASHES = [
    # dies while it waits for     the state it leaves
    ("risk",    "hangs",          PaymentState.CREATED),
    ("risk",    "hangs_after",    PaymentState.CREATED),
    ("channel", "hangs",          PaymentState.PROCESSING),
    ("channel", "hangs_after",    PaymentState.PROCESSING),
]  # fmt: skip


@pytest.mark.parametrize(("name", "step", "left"), CRASHES)
async def test_after_a_crash_there_is_one_outcome(replicas, neighbours, name, step, left):
    """Another replica goes on from the row; neighbours who had done their part do it once."""
    dead, alive = await replicas(2)
    item = payment_item()
    neighbour = getattr(neighbours, name)
    neighbour.then(getattr(neighbour, step))
    await dies(dead, item, neighbour)
    assert (await the_payment(alive, item.payment_no)).state is left

    await resume(alive, item.payment_no)
    await resume(alive, item.payment_no)

    row = await the_payment(alive, item.payment_no)
    assert (row.state, row.due_time) == (PaymentState.SUCCEEDED, None)
    assert await told(alive, item.payment_no) == ["PaymentSucceeded"]
    assert list(neighbours.risk.effects) == [item.payment_no]
    assert list(neighbours.channel.effects) == [f"{item.payment_no}-1"]


async def test_a_payment_that_nobody_drove_is_driven(desk):
    """The process died right after the insert."""
    item = payment_item()
    payment = payment_from_item(item, now=desk.clock.now())
    await add_payment(desk.db, payment, fingerprint=content_of(item))

    await resume(desk, item.payment_no)

    assert await told(desk, item.payment_no) == ["PaymentSucceeded"]


@pytest.mark.parametrize("step", ["breaks", "breaks_after"])
async def test_a_broken_call_is_asked_again_by_the_timer(desk, neighbours, step):
    """The stream breaks twice, with and without the charge made; the third look finds it."""
    item = payment_item()
    broken = getattr(neighbours.channel, step)
    neighbours.channel.then(broken, broken)
    await pay(desk, item)

    await resume(desk, item.payment_no)
    between = await the_payment(desk, item.payment_no)
    await resume(desk, item.payment_no)

    assert between.state is PaymentState.PROCESSING
    assert await told(desk, item.payment_no) == ["PaymentSucceeded"]
    assert list(neighbours.channel.effects) == [f"{item.payment_no}-1"]


async def test_looks_at_an_open_payment_grow_rarer(desk, neighbours):
    """5 s 10 s 30 s 1 m 5 m 15 m 30 m, then hourly; the payment itself does not change."""
    item = payment_item()
    neighbours.channel.then(neighbours.channel.says(attempt_pb2.Attempt.STATE_PROCESSING))
    payment = await pay(desk, item)
    waits = [(payment.due_time - payment.create_time).total_seconds()]

    for tries in range(1, len(LADDER)):
        before = desk.clock.now()
        await resume(desk, item.payment_no)
        row = await the_payment(desk, item.payment_no)
        assert (row.tries, row.version) == (tries, payment.version)
        waits.append((row.due_time - before).total_seconds())

    assert [int(wait) for wait in waits] == LADDER


async def test_a_payment_decided_meanwhile_is_left_alone(desk, neighbours):
    """It was taken because it was due, and then its event came."""
    payment_no = await seed(desk, state="succeeded")

    await resume(desk, payment_no)

    assert (await the_payment(desk, payment_no)).due_time is None
    assert neighbours.channel.asked == []


async def test_a_decided_payment_is_never_due_again(desk):
    """The timer's last word comes after the event that decided the payment."""
    payment_no = await seed(desk, state="succeeded")

    await postpone_payment(
        desk.db, app_id="mall", payment_no=payment_no, due_time=desk.clock.now(), tries=1
    )

    row = await the_payment(desk, payment_no)
    assert (row.due_time, row.tries) == (None, 0)


async def test_due_payments_are_taken_by_one_replica_each(replicas, neighbours):
    """Two replicas run their timers over twenty due payments: each is submitted once."""
    desks = await replicas(2)
    numbers = [await seed(desks[0], state="created") for _ in range(20)]

    timers = [asyncio.create_task(run_due(desk.db, PAYMENTS, desk)) for desk in desks]
    await eventually(lambda: len(neighbours.channel.effects) == 20)
    states = set()
    while states != {PaymentState.SUCCEEDED}:
        states = {(await the_payment(desks[0], number)).state for number in numbers}
    for timer in timers:
        timer.cancel()
    await asyncio.wait(timers)

    assert len(neighbours.channel.asked) == 20
    for number in numbers:
        assert await told(desks[0], number) == ["PaymentSucceeded"]


async def test_a_payment_driven_twice_at_once_has_one_outcome(replicas, neighbours):
    """The first call still waits for channel while the timer of another replica goes on."""
    slow, timer = await replicas(2)
    item = payment_item()
    release = asyncio.Event()

    async def waits(leg):
        await release.wait()
        return neighbours.channel.do(leg)

    neighbours.channel.then(waits)
    call = asyncio.create_task(pay(slow, item))
    await eventually(lambda: neighbours.channel.asked)
    await resume(timer, item.payment_no)
    release.set()
    payment = await call

    assert payment.state is PaymentState.SUCCEEDED
    assert await told(slow, item.payment_no) == ["PaymentSucceeded"]
