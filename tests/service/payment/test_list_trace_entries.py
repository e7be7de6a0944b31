"""List what payment has of a trace: payments, refunds, cases, oldest first."""

from payment.flow.apply_result import apply_result
from payment.flow.list_trace_entries import list_trace_entries
from tests.service.payment.scene import (
    TRACE,
    on_behalf_of,
    pay,
    payment_item,
    refund,
    refund_item,
    seed,
    the_payment,
    the_refund,
    word,
)
from tongbao.channel.v1 import attempt_pb2


async def entries_of(desk, *, app_id="mall", trace_no=TRACE):
    with on_behalf_of(app_id):
        return await list_trace_entries(desk, app_id=app_id, trace_no=trace_no)


async def test_a_trace_shows_payments_refunds_and_cases(desk, neighbours):
    """In the order in which they came to be, with what is worth knowing of each."""
    neighbours.channel.then(neighbours.channel.says(attempt_pb2.Attempt.STATE_FAILED))
    first = await pay(desk, payment_item(100))
    second = await pay(desk, payment_item(100, user_no="u-1"))
    given = await refund(desk, refund_item(second.payment_no, 60))
    with on_behalf_of():
        await apply_result(desk, attempt=word(first.payment_no, "succeeded"))

    entries = await entries_of(desk)

    assert [(entry.kind, entry.state) for entry in entries] == [
        ("payment", "REVIEW"),
        ("payment", "SUCCEEDED"),
        ("refund", "SUCCEEDED"),
        ("case", "OPEN"),
    ]
    numbers = [first.payment_no, second.payment_no, given.refund_no]
    assert [entry.number for entry in entries[:3]] == numbers
    assert [entry.amount.minor_units for entry in entries] == [100, 100, 60, 100]
    assert {entry.service for entry in entries} == {"payment"}
    assert entries[2].facts["refund_of"] == second.payment_no
    assert entries[1].facts["refunded_minor"] == "60"
    assert entries[1].facts["channel_code"] == "sim"
    assert entries[3].facts["kind"] == "LATE_SUCCESS"
    assert entries[3].facts["about"] == first.payment_no
    assert "u-1" not in str(entries)  # A user number is personal.


async def test_what_is_not_final_says_when_somebody_looks_next(desk, neighbours):
    """Open orders by their timer, orders under review by the deadline of their case."""
    neighbours.channel.then(neighbours.channel.says(attempt_pb2.Attempt.STATE_PROCESSING))
    waiting = await pay(desk, payment_item())
    reviewed = await seed(desk, state="processing")
    decided = await seed(desk)
    with on_behalf_of():
        await apply_result(desk, attempt=word(reviewed, "review"))

    entries = {entry.number: entry for entry in await entries_of(desk)}
    [case] = [entry for entry in entries.values() if entry.kind == "case"]

    assert (
        entries[waiting.payment_no].due_time.ToDatetime().replace(tzinfo=waiting.due_time.tzinfo)
        == waiting.due_time
    )
    assert entries[reviewed].due_time == case.due_time
    assert not entries[decided].HasField("due_time")


async def test_a_trace_of_another_app_is_empty(desk):
    """The tenant is part of the question."""
    await pay(desk, payment_item())

    assert await entries_of(desk, app_id="shop") == []
    assert await entries_of(desk, trace_no="MALL-2") == []


async def test_what_another_app_owns_does_not_exist(desk):
    """Not by its number either."""
    payment = await pay(desk, payment_item())
    given = await refund(desk, refund_item(payment.payment_no, 60))

    assert await the_payment(desk, payment.payment_no, app_id="shop") is None
    assert await the_refund(desk, given.refund_no, app_id="shop") is None
