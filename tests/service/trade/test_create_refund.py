"""CreateRefund and GetRefund: taken before anybody is asked, released when it fails."""

from __future__ import annotations

import asyncio

from tests.service.trade.neighbours import Refund as Told
from tests.service.trade.shop import (
    KEEP,
    Refund,
    Shop,
    Trade,
    World,
    ask,
    money,
    reason,
    refused,
    serial,
)
from tests.waiting import eventually
from tongbao.trade.v1 import trade_service_pb2 as pb


def asked(world: World, refund: Refund) -> list:
    """What payment was asked for the refund."""
    return [item for item in world.payment.asked_refunds if item.refund_no == refund.refund_no]


async def test_a_refund_is_counted_and_carried_out(world: World, shop: Shop):
    """Payment gets the winning payment, the amount, its share of the fee."""
    trade = await shop.paid(1000)
    answer = (await shop.refund(trade, 250)).message
    refund = answer.refund

    assert refund.state == Refund.STATE_SUCCEEDED
    assert len(refund.refund_no) == 26
    assert (refund.trade_no, refund.trace_no) == (trade.trade_no, trade.trace_no)
    assert (refund.amount, refund.cause) == (money(250), "cold tea")
    assert (answer.trade.refunded_amount, answer.trade.state) == (money(250), Trade.STATE_PAID)
    assert answer.trade.version == trade.version + 1
    [item] = asked(world, refund)
    assert (item.payment_no, item.amount) == (trade.payment_no, money(250))
    assert (item.context.app_id, item.context.trace_no) == (trade.app_id, trade.trace_no)
    assert item.fee_minor == 2  # 6 of 1000, a quarter: 1.5.
    assert await shop.refund_now(refund) == refund


async def test_parts_up_to_the_whole_and_nothing_more(world: World, shop: Shop):
    """Three parts of ten; then a minor unit is too much."""
    trade = await shop.paid(1000)
    for part in (333, 333, 334):
        answer = (await shop.refund(trade, part)).message
        assert answer.refund.state == Refund.STATE_SUCCEEDED
    assert answer.trade.refunded_amount == money(1000)
    assert await refused(shop.refund(trade, 1)) == (
        "REFUND_EXCEEDS_TRADE",
        {"trade_no": trade.trade_no, "left_minor_units": "0"},
    )
    shares = [item.fee_minor for item in world.payment.asked_refunds
              if item.payment_no == trade.payment_no]  # fmt: skip
    assert sum(shares) == 6


async def test_a_kept_fee_is_not_returned(world: World):
    """Policy KEEP: the share is nothing."""
    shop = await world.shop(policy=KEEP)
    refund = (await shop.refund(await shop.paid(1000), 1000)).message.refund
    assert [item.fee_minor for item in asked(world, refund)] == [0]


async def test_an_unfunded_refund_is_released(world: World, shop: Shop):
    """It FAILED with its reason; amount and fee can be given back again."""
    trade = await shop.paid(1000)
    failed = world.payment.says(Told.STATE_FAILED, failure_reason="REFUND_UNFUNDED")
    world.payment.then(failed)
    answer = (await shop.refund(trade, 1000)).message

    assert answer.refund.state == Refund.STATE_FAILED
    assert answer.refund.failure_reason == "REFUND_UNFUNDED"
    assert answer.trade.refunded_amount == money(0)
    row = "SELECT refunded_minor, fee_refunded_minor FROM trade WHERE trade_no = %(no)s"
    assert world.trade.rows(row, no=trade.trade_no) == [(0, 0)]
    again = (await shop.refund(trade, 1000)).message
    assert again.refund.state == Refund.STATE_SUCCEEDED
    assert world.trade.rows(row, no=trade.trade_no) == [(1000, 6)]


async def test_what_payment_refuses_is_a_refund_that_failed(world: World, shop: Shop):
    """A definite refusal of the item releases the amount."""
    trade = await shop.paid(1000)
    world.payment.then(world.payment.refuses("PAYMENT_NOT_REFUNDABLE"))
    answer = (await shop.refund(trade, 400)).message
    assert answer.refund.state == Refund.STATE_FAILED
    assert answer.refund.failure_reason == "PAYMENT_NOT_REFUNDABLE"
    assert answer.trade.refunded_amount == money(0)


async def test_a_refund_under_review_stays_counted(world: World, shop: Shop):
    """Nobody knows whether the payer has the money, so it cannot be given back again."""
    trade = await shop.paid(1000)
    world.payment.then(world.payment.says(Told.STATE_REVIEW))
    answer = (await shop.refund(trade, 900)).message
    assert answer.refund.state == Refund.STATE_REVIEW
    assert answer.trade.refunded_amount == money(900)
    assert await reason(shop.refund(trade, 101)) == "REFUND_EXCEEDS_TRADE"


async def test_near_the_deadline_the_answer_is_processing_and_the_work_goes_on(
    world: World, shop: Shop
):
    """The amount is counted at once; what payment says later is applied."""
    trade = await shop.paid(1000)
    gate = asyncio.Event()
    world.payment.then(world.payment.answers_when(gate, Told.STATE_SUCCEEDED))
    answer = (await shop.refund(trade, 700, timeout=0.5)).message
    assert answer.refund.state == Refund.STATE_PROCESSING
    assert answer.trade.refunded_amount == money(700)
    assert await reason(shop.refund(trade, 301)) == "REFUND_EXCEEDS_TRADE"

    gate.set()

    async def arrived():
        return (await shop.refund_now(answer.refund)).state == Refund.STATE_SUCCEEDED

    await eventually(arrived)


async def test_refusals_come_in_the_order_of_the_contract(world: World, shop: Shop):
    """A call with every fault is refused for the first; mending one shows the next."""
    paid = await shop.paid(1000)
    known = shop.giving_back(paid, 100)
    await shop.stub.CreateRefund(known)
    created = await shop.create()
    wrong = shop.giving_back("0" * 26, 901, "USD", refund_order_no=known.refund_order_no)
    seen = [await refused(shop.stub.CreateRefund(wrong))]
    wrong.refund_order_no = f"back-{serial()}"
    seen.append(await refused(shop.stub.CreateRefund(wrong)))
    wrong.trade_no = created.trade_no
    seen.append(await refused(shop.stub.CreateRefund(wrong)))
    wrong.amount.currency_code = "CNY"
    seen.append(await refused(shop.stub.CreateRefund(wrong)))
    wrong.trade_no = paid.trade_no
    seen.append(await refused(shop.stub.CreateRefund(wrong)))
    wrong.amount.minor_units = 900

    assert not (await ask(shop.stub.CreateRefund, wrong)).replayed
    assert seen == [
        ("REQUEST_REUSED", {"field": "refund_order_no", "number": known.refund_order_no}),
        ("TRADE_NOT_FOUND", {"trade_no": "0" * 26}),
        ("CURRENCY_MISMATCH", {"want": "CNY", "got": "USD"}),
        (
            "TRADE_NOT_REFUNDABLE",
            {"trade_no": created.trade_no, "state": "CREATED", "type": "COLLECT"},
        ),
        (
            "REFUND_EXCEEDS_TRADE",
            {"trade_no": paid.trade_no, "left_minor_units": "900"},
        ),
    ]


async def test_a_recharge_is_not_refunded(world: World, shop: Shop):
    """Not even when it is paid: the money is the user's own."""
    trade = (await shop.pay(shop.top_up())).message.trade
    world.trade.rows("UPDATE trade SET state = 'paid' WHERE trade_no = %(no)s", no=trade.trade_no)
    assert await refused(shop.refund(trade, 1)) == (
        "TRADE_NOT_REFUNDABLE",
        {"trade_no": trade.trade_no, "state": "PAID", "type": "RECHARGE"},
    )


async def test_a_repetition_takes_nothing_and_returns_both_as_they_are(world: World, shop: Shop):
    """Marked; also when nothing is left of the trade."""
    trade = await shop.paid(1000)
    request = shop.giving_back(trade, 600)
    first = await ask(shop.stub.CreateRefund, request)
    rest = (await shop.refund(trade, 400)).message
    again = await ask(shop.stub.CreateRefund, request)

    assert (first.replayed, again.replayed) == (False, True)
    assert again.message.refund == first.message.refund
    assert again.message.trade == rest.trade
    assert len(asked(world, first.message.refund)) == 1


async def test_a_refund_order_number_stands_for_its_content_for_ever(shop: Shop):
    """Another amount, cause or trade is refused, also when nothing is left."""
    trade, other = await shop.paid(1000), await shop.paid(1000)
    request = shop.giving_back(trade, 1000)
    await shop.stub.CreateRefund(request)
    for change in (
        {"amount": money(999)},
        {"cause": "warm tea"},
        {"trade_no": other.trade_no},
    ):
        wrong = pb.CreateRefundRequest()
        wrong.CopyFrom(request)
        wrong.MergeFrom(pb.CreateRefundRequest(**change))
        assert await reason(shop.stub.CreateRefund(wrong)) == "REQUEST_REUSED", change


async def test_a_refused_refund_does_not_use_its_number_up(shop: Shop):
    """What was too much may be sent again as less."""
    trade = await shop.paid(1000)
    request = shop.giving_back(trade, 1001)
    assert await reason(shop.stub.CreateRefund(request)) == "REFUND_EXCEEDS_TRADE"
    request.amount.minor_units = 1000
    answer = await ask(shop.stub.CreateRefund, request)
    assert answer.message.refund.state == Refund.STATE_SUCCEEDED


async def test_refunds_are_found_by_both_numbers_and_by_their_app_only(world: World, shop: Shop):
    """GetRefund; a trade of another app cannot be refunded either."""
    other = await world.shop()
    trade = await shop.paid(1000)
    refund = (await shop.refund(trade, 10)).message.refund
    by_number = pb.GetRefundRequest(refund_no=refund.refund_no)
    by_order = pb.GetRefundRequest(refund_order_no=refund.refund_order_no)

    assert (await shop.stub.GetRefund(by_number)).refund == refund
    assert (await shop.stub.GetRefund(by_order)).refund == refund
    assert await refused(other.stub.GetRefund(by_number)) == (
        "REFUND_NOT_FOUND",
        {"refund_no": refund.refund_no},
    )
    assert await refused(other.stub.GetRefund(by_order)) == (
        "REFUND_NOT_FOUND",
        {"refund_order_no": refund.refund_order_no},
    )
    assert await reason(other.refund(trade, 1)) == "TRADE_NOT_FOUND"
    assert await reason(shop.stub.GetRefund(pb.GetRefundRequest())) == "INVALID_FIELDS"


async def test_refunds_that_cannot_be_are_malformed(shop: Shop):
    """The contract's rules are kept at the door."""
    trade = await shop.paid()
    for wrong in (
        shop.giving_back(trade, 0),
        shop.giving_back(trade, -1),
        shop.giving_back("short", 1),
        shop.giving_back(trade, 1, refund_order_no="no spaces"),
        shop.giving_back(trade, 1, cause="x" * 129),
    ):
        assert await reason(shop.stub.CreateRefund(wrong)) == "INVALID_FIELDS", wrong
