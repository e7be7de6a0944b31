"""From the events of payment to clearing items, one for each success."""

import signal

import psycopg
import pytest

from tests.services import holding
from tongbao.common.v1 import kinds_pb2, money_pb2
from tongbao.payment.v1 import payment_pb2
from tongbao.payment.v1.events_pb2 import (
    PaymentFailed,
    PaymentReviewed,
    PaymentSucceeded,
    RefundFailed,
    RefundReviewed,
)

ALL = """SELECT kind, app_id, trace_no, trade_no, merchant_id, currency_code, gross_minor,
                fee_minor, cost_minor, net_minor, state FROM clearing_item"""


async def test_a_payment_is_cleared_with_the_snapshots_it_carries(ground, settlement, paid):
    """Fee and cost are copied: 0.6 % of another amount would be another fee."""
    event = paid(fee_minor=123, cost_minor=45)
    await settlement.applied(await ground.tell("payment", event))
    trade_no = event.payment.trade_no
    assert settlement.rows(ALL) == [
        ("payment", "mall", "MALL-1", trade_no, "m1", "CNY", 10_000, 123, 45, 9_877, "pending")
    ]


async def test_a_refund_is_cleared_in_the_other_sense(ground, settlement, refunded):
    """Gross is what the payer gets, fee what we give back of ours, net what the merchant gives."""
    event = refunded()
    await settlement.applied(await ground.tell("payment", event))
    trade_no = event.refund.trade_no
    assert settlement.rows(ALL) == [
        ("refund", "mall", "MALL-1", trade_no, "m1", "CNY", 2_500, 15, 0, 2_485, "pending")
    ]


async def test_the_same_event_makes_one_item(ground, settlement, items, paid, refunded):
    """Twice in a batch, again in another batch, and in a batch that is delivered twice."""
    payment, refund = paid(), refunded()
    both = sorted([payment.payment.payment_no, refund.refund.refund_no])
    await settlement.applied(await ground.tell("payment", payment, payment, refund))
    again = await ground.tell("payment", refund, payment)
    await settlement.applied(again)
    await ground.tell("payment", payment, batch_id=again)
    await settlement.applied(await ground.tell("payment", paid()))
    assert [number for number in items() if number in both] == both
    assert len(items()) == 3
    assert settlement.dead_letters() == []


async def test_a_later_version_of_the_same_success_changes_nothing(ground, settlement, paid):
    """A payment accepted after a review says again that it succeeded."""
    first = paid()
    second = paid(payment_no=first.payment.payment_no, version=7, fee_minor=99)
    for event in (first, second):
        await settlement.applied(await ground.tell("payment", event))
    rows = settlement.rows("SELECT fee_minor, state, source_version FROM clearing_item")
    assert rows == [(60, "pending", 7)]
    assert settlement.dead_letters() == []


async def test_only_what_a_merchant_is_owed_is_cleared(ground, settlement, items, paid):
    """A recharge is the payer's own money; a failure is nobody's."""
    recharge = paid(trade_type=kinds_pb2.TRADE_TYPE_RECHARGE)
    failed = PaymentFailed(payment=paid().payment)
    last = paid()
    await settlement.applied(await ground.tell("payment", recharge, failed, last))
    assert items() == [last.payment.payment_no]


async def test_many_events_of_many_tenants_are_cleared_in_few_statements(
    ground, settlement, items, paid
):
    """Handlers of one batch share their round trips."""
    events = [paid(app_id=f"app{n % 5}") for n in range(300)]
    await settlement.applied(await ground.tell("payment", *events))
    assert items() == sorted(event.payment.payment_no for event in events)
    sizes = settlement.runtime.db.sizes()["put_item"]
    assert sum(sizes.values()) < 20, sizes


async def test_a_poison_event_is_set_aside_and_the_rest_proceeds(ground, settlement, items, paid):
    """Its neighbours in the batch and the batches after it are applied, without waiting."""
    poison = paid()
    poison.payment.merchant_id = ""  # The table refuses it.
    before, after, later = paid(), paid(), paid()
    batch = await ground.tell("payment", before, poison, after)
    await settlement.applied(await ground.tell("payment", later))
    await settlement.applied(batch)
    assert items() == sorted(event.payment.payment_no for event in (before, after, later))
    [kept] = settlement.dead_letters()
    assert kept.number == poison.payment.payment_no
    rows = settlement.rows("SELECT consumer, batch_id, place, problem FROM dead_letter")
    [(consumer, batch_id, place, problem)] = rows
    assert (consumer, batch_id, place) == ("settlement_from_payment", batch, 1)
    assert "merchant_id" in problem


async def test_bytes_that_are_no_batch_are_set_aside(ground, settlement, items, paid):
    """Nobody should publish them; if somebody does, nobody waits behind them."""
    garbage = b"\xff\xfe these are no events"
    await ground.publish("payment", garbage)
    last = paid()
    await settlement.applied(await ground.tell("payment", last))
    assert items() == [last.payment.payment_no]
    rows = settlement.rows("SELECT event, problem FROM dead_letter")
    assert [(bytes(event), problem) for event, problem in rows] == [(garbage, "not an EventBatch")]


async def test_a_crash_between_effect_and_acknowledgement_does_no_harm(ground, paid):
    """The items are durable, the inbox row is not; NATS delivers everything again."""
    event = paid()
    count = "SELECT count(*) FROM clearing_item"
    async with ground.spawn("settlement") as settlement:
        async with holding(settlement.dsn, "LOCK inbox IN EXCLUSIVE MODE"):
            batch = await ground.tell("payment", event)
            await settlement.blocked(1, what="INSERT INTO inbox")
            assert settlement.rows(count) == [(1,)]
            settlement.process.send(signal.SIGKILL)
            await settlement.process.wait(within=10)
        assert settlement.rows("SELECT count(*) FROM inbox") == [(0,)]
    await ground.deliver_again("settlement", source="payment")
    async with ground.run("settlement") as settlement:
        await settlement.applied(batch)
        assert settlement.rows(count) == [(1,)]
        assert settlement.dead_letters() == []


@pytest.mark.parametrize(
    "change",
    [
        {"net_minor": 1},
        {"fee_minor": -1, "net_minor": 10_001},
        {"fee_minor": 10_001, "net_minor": -1},
        {"gross_minor": 0, "fee_minor": 0, "net_minor": 0},
        {"cost_minor": -1},
        {"kind": "refund"},
    ],
)
async def test_the_table_refuses_amounts_that_cannot_be(ground, settlement, paid, change):
    """The last guard, below every flow."""
    await settlement.applied(await ground.tell("payment", paid()))
    sets = ", ".join(f"{name} = %({name})s" for name in change)
    with pytest.raises(psycopg.errors.CheckViolation):
        settlement.rows(f"UPDATE clearing_item SET {sets}", **change)


async def test_currencies_stay_apart(ground, settlement, paid):
    """Each item keeps its own."""
    yen = money_pb2.Money(currency_code="JPY", minor_units=500)
    await settlement.applied(await ground.tell("payment", paid(amount=yen, fee_minor=3), paid()))
    sql = "SELECT currency_code, net_minor FROM clearing_item ORDER BY currency_code"
    assert settlement.rows(sql) == [("CNY", 9_940), ("JPY", 497)]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_a_success_that_is_taken_back_is_held(ground, settlement, paid, order):
    """Whichever word comes first, the newer one says where the item is."""
    success = paid()
    reviewed = payment_pb2.Payment()
    reviewed.CopyFrom(success.payment)
    reviewed.version, reviewed.review_kind = 4, "CHANNEL_REVERSED"
    events = [success, PaymentReviewed(payment=reviewed)]
    for place in order:
        await settlement.applied(await ground.tell("payment", events[place]))
    assert settlement.rows("SELECT state, gross_minor FROM clearing_item") == [("held", 10_000)]

    ended = payment_pb2.Payment()
    ended.CopyFrom(reviewed)
    ended.version = 5
    await settlement.applied(await ground.tell("payment", PaymentFailed(payment=ended)))
    assert settlement.rows("SELECT state FROM clearing_item") == [("cancelled",)]


async def test_money_in_doubt_that_never_was_a_success_gets_no_item(ground, settlement, paid):
    """Suspense is nobody's; once it is accepted it is cleared as any success."""
    told = paid().payment
    told.version, told.review_kind = 4, "LATE_SUCCESS"
    await settlement.applied(await ground.tell("payment", PaymentReviewed(payment=told)))
    assert settlement.rows("SELECT 1 FROM clearing_item") == []
    told.version = 5
    await settlement.applied(await ground.tell("payment", PaymentSucceeded(payment=told)))
    assert settlement.rows("SELECT state FROM clearing_item") == [("pending",)]


async def test_a_refund_that_came_back_is_held_and_cancelled(ground, settlement, refunded):
    """退票."""
    told = refunded().refund
    for version, kind in ((3, RefundReviewed), (4, RefundFailed)):
        told.version, told.review_kind = version, "CHANNEL_REVERSED"
        await settlement.applied(await ground.tell("payment", kind(refund=told)))
    assert settlement.rows("SELECT state FROM clearing_item") == [("cancelled",)]
