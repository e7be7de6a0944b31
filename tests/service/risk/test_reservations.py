"""What becomes of a reservation: confirmed, released once, kept."""

import asyncio
import signal

import psycopg
import pytest

from tests.service.risk.asking import (
    BLOCK,
    PASS,
    decisions,
    ended,
    payment,
    put_limit,
    state_of,
    used,
)
from tests.services import holding
from tongbao.payment.v1.events_pb2 import PaymentFailed, PaymentReviewed, PaymentSucceeded


@pytest.fixture
async def reserved(risk):
    """One payment of 60 out of a limit of 100; no event of it may end as a dead letter."""
    await put_limit(risk, 100)
    item = payment(60)
    await decisions(risk, item)
    yield item
    assert risk.dead_letters() == []


async def test_a_charged_payment_keeps_its_amount(ground, risk, reserved):
    """It counts for good: nothing that is said later takes it back."""
    for event in (PaymentSucceeded, PaymentFailed, PaymentSucceeded):
        await risk.applied(await ground.tell("payment", event(payment=ended(reserved))))
        assert state_of(risk, reserved) == "confirmed"
    assert used(risk) == [60]


async def test_a_failed_payment_gives_its_amount_back_once(ground, risk, reserved):
    """However often the event comes: twice in one batch, and again in another."""
    await put_limit(risk, 1_000)
    await decisions(risk, payment(900))
    failed = PaymentFailed(payment=ended(reserved))
    for happened in ([failed, failed], [failed]):
        await risk.applied(await ground.tell("payment", *happened))
        assert used(risk) == [900]
    assert state_of(risk, reserved) == "released"
    assert await decisions(risk, payment(100)) == [(PASS, "")]


async def test_a_released_payment_stays_released(ground, risk, reserved):
    """Also when it is charged after all; its decision does not change either."""
    for event in (PaymentFailed, PaymentSucceeded):
        await risk.applied(await ground.tell("payment", event(payment=ended(reserved))))
    assert state_of(risk, reserved) == "released"
    assert used(risk) == [0]
    assert await decisions(risk, reserved) == [(PASS, "")]
    assert used(risk) == [0]


async def test_a_payment_under_review_keeps_its_reservation(ground, risk, reserved):
    """The payer may have been charged."""
    event = PaymentReviewed(payment=ended(reserved))
    last = PaymentFailed(payment=ended(payment()))
    await ground.tell("payment", event)
    await risk.applied(await ground.tell("payment", last))
    assert state_of(risk, reserved) == "reserved"
    assert used(risk) == [60]


async def test_an_event_of_a_payment_that_reserved_nothing_does_nothing(ground, risk, reserved):
    """Blocked, not limited, never evaluated, or under the name of another app."""
    blocked, free = payment(50), payment(50, user_no="")
    assert await decisions(risk, blocked, free) == [(BLOCK, "LIMIT_EXCEEDED"), (PASS, "")]
    foreign = ended(reserved)
    foreign.app_id = "kiosk"
    happened = [ended(blocked), ended(free), ended(payment()), foreign]
    await risk.applied(
        await ground.tell("payment", *(PaymentFailed(payment=one) for one in happened))
    )
    assert used(risk) == [60]
    assert [state_of(risk, item) for item in (reserved, blocked, free)] == [
        "reserved",
        "none",
        "none",
    ]


async def test_payments_released_together_all_give_back(ground, risk):
    """Three of one user in one statement, two of another user beside them."""
    await put_limit(risk, 1_000)
    items = [payment(minor, user_no="u1") for minor in (1, 20, 300)]
    items += [payment(minor, user_no="u2") for minor in (4, 50)]
    await decisions(risk, *items, payment(600), payment(7, user_no="u2"))
    await risk.applied(
        await ground.tell("payment", *(PaymentFailed(payment=ended(item)) for item in items))
    )
    assert (used(risk, "u1"), used(risk, "u2")) == ([600], [7])


async def test_releasing_and_reserving_at_once_loses_neither(ground, risk, reserved):
    """Both wait for the user's row; whoever comes first, both are in the sum."""
    async with asyncio.TaskGroup() as group:
        async with holding(risk.dsn, "SELECT 1 FROM limit_use FOR UPDATE"):
            call = group.create_task(decisions(risk, payment(30)))
            await risk.blocked(1)
            batch = await ground.tell("payment", PaymentFailed(payment=ended(reserved)))
            await risk.blocked(2)
        assert await call == [(PASS, "")]
    await risk.applied(batch)
    assert used(risk) == [30]


async def test_a_crash_between_effect_and_acknowledgement_does_no_harm(ground):
    """The effect is durable, the inbox row is not, NATS has forgotten the consumer."""
    async with ground.run("risk") as risk:
        await put_limit(risk, 100)
        item = payment(60)
        await decisions(risk, item, payment(40))
    async with ground.spawn("risk") as risk:
        async with holding(risk.dsn, "LOCK inbox IN EXCLUSIVE MODE"):
            batch = await ground.tell("payment", PaymentFailed(payment=ended(item)))
            await risk.blocked(1, what="INSERT INTO inbox")
            assert used(risk) == [40]
            risk.process.send(signal.SIGKILL)
            await risk.process.wait(within=10)
        assert risk.rows("SELECT count(*) FROM inbox") == [(0,)]
    await ground.deliver_again("risk", source="payment")
    async with ground.run("risk") as risk:
        await risk.applied(batch)
        assert used(risk) == [40]
        assert state_of(risk, item) == "released"


async def test_the_database_refuses_a_move_that_is_not_in_the_table(risk, reserved):
    """Two guards for money: the statement's own, and this one."""
    risk.rows("UPDATE decision SET state = 'released'")
    with pytest.raises(psycopg.errors.RaiseException, match="illegal move released -> reserved"):
        risk.rows("UPDATE decision SET state = 'reserved'")
    with pytest.raises(psycopg.errors.CheckViolation):
        risk.rows("UPDATE limit_use SET used_minor = -1")


async def test_what_a_person_decides_moves_it_from_the_other_end(ground, risk, reserved):
    """Closed and accepted: it counts again. Succeeded and given back: it does not any more."""
    late, back = ended(reserved), ended(reserved)
    for one in (late, back):
        one.review_kind = "LATE_SUCCESS"
    for event, state, taken in (
        (PaymentFailed(payment=ended(reserved)), "released", 0),
        (PaymentSucceeded(payment=late), "confirmed", 60),
        (PaymentSucceeded(payment=late), "confirmed", 60),
        (PaymentFailed(payment=back), "released", 0),
    ):
        await risk.applied(await ground.tell("payment", event))
        assert (state_of(risk, reserved), used(risk)) == (state, [taken])
