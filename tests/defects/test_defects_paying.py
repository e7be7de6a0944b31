"""Defects seen in other systems, about paying. Numbers and sentences: docs/requirements.md."""

from tests.defects.mall import Mall
from tests.waiting import eventually
from tongbao.payment.v1 import case_pb2
from tongbao.trade.v1 import trade_pb2


def attempts(mall: Mall) -> list[tuple]:
    """Every attempt: state and reason, oldest first."""
    return mall.services["channel"].rows(
        "SELECT state, failure_reason FROM attempt ORDER BY attempt_no"
    )


async def test_defect_01_an_expired_order_is_closed_without_asking_the_channel(mall: Mall):
    """Its open attempt is closed at the provider first; only then the trade is CLOSED."""
    trade = await mall.order(17_702)  # Nobody comes to pay it.
    assert trade.state == trade_pb2.Trade.STATE_PAYING

    await mall.shift("1 hour")
    await mall.until(trade, "closed")

    assert [one["state"] for one in await mall.truth()] == ["CLOSED"]
    assert attempts(mall) == [("closed", "")]


async def test_defect_01_a_late_success_then_notifies_the_caller(mall: Mall):
    """Closed, and paid all the same: REVIEW with a case, suspense, and nobody is told PAID."""
    trade = await mall.order(17_703)
    await mall.shop.close(trade)

    await mall.until(trade, "review")

    case = await mall.case("LATE_SUCCESS")
    await mall.booked(**{"clearing__sim-a": -17_703, "suspense__": 17_703})
    await mall.office.decide(case, case_pb2.RESOLUTION_GIVE_BACK)
    await mall.office.resolved(case)
    await mall.until(trade, "closed")
    await mall.booked()
    await eventually(lambda: len(mall.told(trade)) == 2)
    assert mall.told(trade) == ["trade.closed", "trade.closed"]


async def test_defect_02_a_second_successful_payment_is_rolled_back(mall: Mall):
    """Paid twice: the second charge is an attempt under review, parked money and a case."""
    trade = await mall.order(17_704)

    case = await mall.case("DUPLICATE_SUCCESS")

    assert (case.parked_on, case.parked.minor_units) == ("DUPLICATE", 17_704)
    await mall.until(trade, "paid")
    await eventually(lambda: mall.books().get("duplicate::CNY") == 17_704)


async def test_defect_04_a_callbacks_amount_is_not_compared(mall: Mall):
    """One more than asked: never PAID, and the books hold what really moved."""
    trade = await mall.order(17_796)

    await mall.until(trade, "review")

    await mall.booked(**{"clearing__sim-a": -17_797, "suspense__": 17_797})
    assert mall.told(trade) == []


async def test_defect_05_a_bad_signature_on_the_reply_marks_the_order_failed(mall: Mall):
    """The reply proves nothing, so nothing is known: asked again, it was paid."""
    trade = await mall.order(17_717)

    await mall.until(trade, "paid")

    assert attempts(mall) == [("succeeded", "")]


async def test_defect_06_a_callback_that_says_failed_can_never_fail_an_order(mall: Mall):
    """Accepted, then refused: the try has failed, and the trade may be paid again."""
    trade = await mall.order(17_794)

    def failed():
        return mall.services["payment"].rows("SELECT state FROM payment") == [("failed",)]

    await eventually(failed)
    assert attempts(mall) == [("failed", "REFUSED")]
    assert (await mall.now(trade)).state == trade_pb2.Trade.STATE_PAYING
    await mall.booked()


async def test_defect_10_two_paths_of_one_success_both_carry_it_out(mall: Mall):
    """Capture comes with pre-authorization; today: three callbacks at once beside the inquiry.

    All of them pass one door: the payment succeeds once and is booked once.
    """
    trade = await mall.order(17_795)

    await mall.until(trade, "paid")
    await mall.booked(
        **{
            "clearing__sim-a": -17_795 + 68,
            "merchant_pending__merchant": 17_795 - 107,
            "fee_income__": 107,
            "channel_cost__": -68,
        }
    )

    sql = "SELECT template, count(*) FROM voucher GROUP BY template"
    assert mall.services["ledger"].rows(sql) == [("COLLECTED", 1)]


async def test_defect_11_an_unknown_code_becomes_failed(mall: Mall):
    """A code that no document has says nothing: asked again, it was paid."""
    trade = await mall.order(17_716)

    await mall.until(trade, "paid")

    assert attempts(mall) == [("succeeded", "")]


async def test_defect_13_a_timed_out_order_gets_a_second_number(mall: Mall):
    """Payouts are to come; a charge and a refund without a reply keep their number for ever."""
    trade = await mall.order(17_797)  # No reply comes, and nothing was done.
    await mall.shift("1 minute")
    trade = await mall.until(trade, "paid")
    refund = await mall.shop.refund(trade, 97)
    await mall.shift("1 minute")
    rows = mall.services["payment"].rows
    await eventually(lambda: rows("SELECT state FROM refund") == [("succeeded",)])

    assert [state for state, _ in attempts(mall)] == ["succeeded", "succeeded"]
    assert [one["kind"] for one in await mall.truth()] == ["charge", "refund"]
    assert refund.message.refund.amount.minor_units == 97
