"""Money in doubt, with everything real: books, trade, webhooks and the way out."""

import pytest

from tests.defects.mall import Mall
from tests.waiting import eventually
from tongbao.channel.v1 import events_pb2 as channel_events
from tongbao.payment.v1 import case_pb2
from tongbao.payment.v1 import events_pb2 as payment_events
from tongbao.payment.v1 import payment_ops_service_pb2 as ops

ACCEPT, GIVE_BACK = case_pb2.RESOLUTION_ACCEPT, case_pb2.RESOLUTION_GIVE_BACK
RESOLVED = case_pb2.Case.STATE_RESOLVED


async def test_another_amount_is_never_paid_and_goes_back(mall: Mall):
    """The provider moves one more than asked: suspense at its amount, back by its route."""
    trade = await mall.order(10_096)
    trade = await mall.until(trade, "review")
    case = await mall.case("AMOUNT_MISMATCH")
    await mall.booked(**{"clearing__sim-a": -10_097, "suspense__": 10_097})

    await mall.office.decide(case, GIVE_BACK)
    await mall.office.resolved(case)

    trade = await mall.until(trade, "closed")
    await mall.booked()
    assert [(one["kind"], one["moved_minor"]) for one in await mall.truth()] == [
        ("charge", 10_097),
        ("refund", 10_097),
    ]
    assert "trade.paid" not in mall.told(trade)
    await mall.proves()


async def test_a_success_that_is_taken_back_leaves_the_merchant_and_the_books(mall: Mall):
    """PAID, then REVIEW without a webhook; refunds refused; given up, the trade is CLOSED."""
    trade = await mall.order(17_705)
    trade = await mall.until(trade, "review")
    case = await mall.case("CHANNEL_REVERSED")
    await mall.booked()
    items = mall.services["settlement"].rows
    assert items("SELECT state FROM clearing_item") == [("held",)]

    await mall.office.decide(case, GIVE_BACK)
    await mall.office.resolved(case)

    trade = await mall.until(trade, "closed")
    await mall.proves()


async def test_a_reversal_that_was_wrong_is_restored(mall: Mall):
    """A person says that the channel has the money after all: PAID again, and told so."""
    trade = await mall.order(27_705)
    trade = await mall.until(trade, "review")
    case = await mall.case("CHANNEL_REVERSED")

    await mall.office.decide(case, ACCEPT)
    await mall.office.resolved(case)

    trade = await mall.until(trade, "paid")
    await mall.booked(
        **{
            "clearing__sim-a": -27_705 + 105,
            "merchant_pending__merchant": 27_705 - 166,
            "fee_income__": 166,
            "channel_cost__": -105,
        }
    )


async def test_a_second_payment_is_parked_and_given_back(mall: Mall):
    """Paid twice under one number: the trade stays PAID, the second money goes back."""
    trade = await mall.order(17_704)
    case = await mall.case("DUPLICATE_SUCCESS")
    trade = await mall.until(trade, "paid")
    paid = {
        "clearing__sim-a": -17_704 + 67,
        "merchant_pending__merchant": 17_704 - 106,
        "fee_income__": 106,
        "channel_cost__": -67,
    }
    await mall.booked(**paid | {"clearing__sim-a": 67 - 2 * 17_704, "duplicate__": 17_704})

    await mall.office.decide(case, GIVE_BACK)
    await mall.office.resolved(case)

    await mall.booked(**paid)
    assert (await mall.now(trade)).state == trade.state
    await mall.proves()


async def test_another_currency_is_parked_in_that_currency(mall: Mall):
    """Dollars moved for yuan: suspense in dollars, never equal, back in dollars."""
    trade = await mall.order(17_707)
    trade = await mall.until(trade, "review")
    case = await mall.case("AMOUNT_MISMATCH")
    assert (case.parked.currency_code, case.parked.minor_units) == ("USD", 17_707)
    await mall.booked_in(
        {"clearing:sim-a:USD": -17_707, "suspense::USD": 17_707},
    )

    await mall.office.decide(case, GIVE_BACK)
    case = (await mall.office.maker.GetCase(ops.GetCaseRequest(case_id=case.case_id))).case

    # A provider that refuses to give dollars back leaves them where they are, with a case.
    assert case.state in (RESOLVED, case_pb2.Case.STATE_OPEN, case_pb2.Case.STATE_EXECUTING)
    await mall.proves()


async def test_a_refund_that_came_back_is_the_merchants_again(mall: Mall):
    """退票: SUCCEEDED, then REVIEW; the merchant gets the money, and may refund anew."""
    trade = await mall.until(await mall.order(50_000), "paid")
    refund = (await mall.shop.refund(trade, 7_705)).message.refund
    rows = mall.services["trade"].rows
    sql = "SELECT state FROM refund WHERE refund_no = %(no)s"
    await eventually(lambda: rows(sql, no=refund.refund_no) == [("review",)])
    case = await mall.case("CHANNEL_REVERSED")

    await mall.office.decide(case, GIVE_BACK)
    await mall.office.resolved(case)

    await eventually(lambda: rows(sql, no=refund.refund_no) == [("failed",)])
    assert (await mall.now(trade)).refunded_amount.minor_units == 0
    await mall.booked(
        **{
            "clearing__sim-a": -50_000 + 190,
            "merchant_pending__merchant": 50_000 - 300,
            "fee_income__": 300,
            "channel_cost__": -190,
        }
    )


async def test_a_merchant_who_has_spent_the_money_owes_it(mall: Mall):
    """The success is taken back after its money was refunded: a receivable, nothing below zero."""
    trade = await mall.until(await mall.order(20_000), "paid")
    await mall.shop.refund(trade, 20_000)
    rows = mall.services["payment"].rows
    [[number, attempt_no]] = rows("SELECT payment_no, attempt_no FROM payment")
    sql = "SELECT state FROM refund"
    await eventually(lambda: rows(sql) == [("succeeded",)])
    # The provider takes the charge back although it was given back: said by its callback.
    [[provider_no]] = mall.services["channel"].rows(
        "SELECT provider_no FROM attempt WHERE attempt_no = %(no)s", no=attempt_no
    )
    await mall.calls_back(attempt_no, "REVERSED", provider_no=provider_no, amount_minor=20_000)

    await mall.until(trade, "review")
    await mall.case("CHANNEL_REVERSED")

    await eventually(lambda: mall.books().get("receivable:merchant:CNY") == -19_880)
    assert number
    await mall.proves()


async def heard_again(mall: Mall) -> None:
    """NATS loses how far was read: all of channel comes to payment anew, then its to the ledger."""
    for service, source, kind in (
        ("payment", "channel", channel_events.AttemptReviewed),
        ("ledger", "payment", payment_events.PaymentReviewed),
    ):
        await mall.ground.deliver_again(service, source=source)
        [told, *_] = mall.services[source].published(kind)
        # Applied after all that is in the stream already.
        await mall.services[service].applied(await mall.ground.tell(source, told))


@pytest.mark.parametrize(("resolution", "then"), [(ACCEPT, "paid"), (GIVE_BACK, "closed")])
async def test_a_reversal_is_judged_once(mall: Mall, resolution, then):
    """Provider and channel say it again after a person has decided: the books stay as they are."""
    trade = await mall.until(await mall.order(27_705), "review")
    case = await mall.case("CHANNEL_REVERSED")
    await mall.office.decide(case, resolution)
    decided = await mall.office.resolved(case)
    trade = await mall.until(trade, then)
    fee, cost = {"merchant_pending__merchant": 27_705 - 166, "fee_income__": 166}, 105
    paid = fee | {"clearing__sim-a": cost - 27_705, "channel_cost__": -cost}
    await mall.booked(**paid if resolution == ACCEPT else {})
    books = mall.books()

    [[attempt_no, provider_no]] = mall.services["channel"].rows(
        "SELECT attempt_no, provider_no FROM attempt"
    )
    await mall.calls_back(attempt_no, "REVERSED", provider_no=provider_no, amount_minor=27_705)
    await heard_again(mall)

    assert mall.books() == books
    assert (await mall.now(trade)).state == trade.state
    assert await mall.office.resolved(case) == decided
    assert len(mall.services["channel"].published(channel_events.AttemptReviewed)) == 1
    assert mall.services["payment"].rows("SELECT count(*) FROM give_back") == [(0,)]
    await mall.proves()


@pytest.mark.parametrize(("resolution", "then"), [(ACCEPT, "succeeded"), (GIVE_BACK, "failed")])
async def test_a_refund_that_came_back_is_judged_once(mall: Mall, resolution, then):
    """退票 that is told again: suspense has nothing of it any more, so nobody is paid out of it."""
    trade = await mall.until(await mall.order(50_000), "paid")
    await mall.shop.refund(trade, 7_705)
    case = await mall.case("CHANNEL_REVERSED")
    await mall.office.decide(case, resolution)
    decided = await mall.office.resolved(case)
    rows = mall.services["payment"].rows
    assert rows("SELECT state FROM refund") == [(then,)]
    await eventually(lambda: "suspense::CNY" not in mall.books())
    books = mall.books()

    [told] = mall.services["channel"].published(channel_events.AttemptReviewed)
    await mall.ground.deliver_again("payment", source="channel")
    await mall.services["payment"].applied(await mall.ground.tell("channel", told))

    assert rows("SELECT state FROM refund") == [(then,)]
    assert await mall.office.resolved(case) == decided
    assert mall.books() == books
    await mall.proves()
