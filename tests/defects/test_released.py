"""Money that its account refused 止收, with everything real: suspense, a case, and on from it."""

import itertools

from tests.defects.mall import Mall
from tests.waiting import eventually
from tongbao.ledger.v1 import account_pb2, accounting_service_pb2
from tongbao.ledger.v1 import account_service_pb2 as pb
from tongbao.ledger.v1.account_service_pb2_grpc import AccountServiceStub
from tongbao.ledger.v1.accounting_service_pb2_grpc import AccountingServiceStub
from tongbao.payment.v1 import case_pb2
from tongbao.trade.v1 import trade_pb2

ACCEPT = case_pb2.RESOLUTION_ACCEPT
OPEN, RESOLVED = case_pb2.Case.STATE_OPEN, case_pb2.Case.STATE_RESOLVED
CREDITS = [account_pb2.BLOCK_CREDIT]
PENDING, WALLET = "merchant_pending", "wallet"
_requests = itertools.count(1)
# What the books have of 50,000 by code when nobody refuses them.
PAID = {
    "clearing__sim-a": -50_000 + 190,
    "merchant_pending__merchant": 50_000 - 300,
    "fee_income__": 300,
    "channel_cost__": -190,
}
SUSPENDED = {"clearing__sim-a": -50_000 + 190, "suspense__": 50_000, "channel_cost__": -190}


def facts(mall: Mall, kind: str) -> dict:
    """The first fields of a request about the one account of that kind."""
    sql = "SELECT min(account_id) FROM account WHERE kind = %(kind)s HAVING count(*) = 1"
    [[account_id]] = mall.services["ledger"].rows(sql, kind=kind)
    account = account_pb2.AccountRef(account_id=account_id)
    number = f"b-{next(_requests)}"
    return {"request_id": number, "account": account, "blocks": CREDITS, "cause": "police"}


async def block(mall: Mall, kind: str) -> None:
    """止收: the account takes no credits."""
    stub = AccountServiceStub(mall.services["ledger"].operator())
    await stub.BlockAccount(pb.BlockAccountRequest(**facts(mall, kind)))


async def unblock(mall: Mall, kind: str) -> None:
    """It takes them again."""
    stub = AccountServiceStub(mall.services["ledger"].operator())
    await stub.UnblockAccount(pb.UnblockAccountRequest(**facts(mall, kind)))


async def items(mall: Mall) -> list[tuple]:
    """What stood in suspense: by what it was parked, what is open of it, what took it out."""
    stub = AccountingServiceStub(mall.services["ledger"].operator())
    request = accounting_service_pb2.ListSuspenseRequest(include_settled=True)
    return [
        (one.template, one.open_minor, [release.template for release in one.releases])
        for one in (await stub.ListSuspense(request)).items
    ]


async def heard_again(mall: Mall) -> None:
    """NATS loses how far was read: what payment and ledger told each other comes anew."""
    for service, source in (("ledger", "payment"), ("payment", "ledger")):
        await mall.ground.deliver_again(service, source=source)
        # Applied after all that is in the stream already.
        await mall.services[service].applied(await mall.ground.tell(source))


async def released(mall: Mall) -> None:
    """Two persons let go what waits, and it arrives."""
    case = await mall.office.decide(await mall.case("LEDGER_REFUSED"), ACCEPT)
    assert case.state == RESOLVED


async def test_a_merchants_money_waits_until_its_account_takes_it(mall: Mall):
    """Blocked, paid, refused once more, unblocked: as if it had never been blocked."""
    await block(mall, PENDING)
    trade = await mall.until(await mall.order(50_000), "paid")
    case = await mall.case("LEDGER_REFUSED")
    assert (case.parked_on, case.parked.minor_units) == ("SUSPENSE", 50_000)
    await mall.booked(**SUSPENDED)

    case = await mall.office.decide(case, ACCEPT)

    assert case.state == OPEN
    await mall.booked(**SUSPENDED)
    await unblock(mall, PENDING)
    await released(mall)
    await mall.booked(**PAID)
    assert await items(mall) == [("COLLECT_SUSPENDED", 0, ["SUSPENSE_COLLECTED"])]
    await heard_again(mall)
    await mall.booked(**PAID)
    assert (await mall.case("LEDGER_REFUSED")).state == RESOLVED
    assert (await mall.now(trade)).state == trade.state
    await mall.proves()


async def test_a_top_up_waits_until_its_wallet_takes_it(mall: Mall):
    """Without a fee, with the cost once; its caller is told when the money is there."""
    await block(mall, WALLET)
    trade = (await mall.shop.pay(mall.shop.top_up(50_000))).message.trade
    await mall.case("LEDGER_REFUSED")
    assert (await mall.now(trade)).state == trade_pb2.Trade.STATE_PAYING
    await mall.booked(**SUSPENDED)

    await unblock(mall, WALLET)
    await released(mall)

    wallet = f"wallet__{mall.shop.code}/u1"
    cost = {"clearing__sim-a": -50_000 + 190, "channel_cost__": -190}
    await mall.booked(**cost | {wallet: 50_000})
    assert (await mall.until(trade, "paid")).payment_no == trade.payment_no
    await mall.proves()


async def test_what_was_released_is_taken_back_from_the_merchant(mall: Mall):
    """冲正 of money that stood in suspense before; a person says that it was wrong."""
    await block(mall, PENDING)
    trade = await mall.until(await mall.order(50_000), "paid")
    await mall.case("LEDGER_REFUSED")
    await unblock(mall, PENDING)
    await released(mall)
    [[attempt_no, provider_no]] = mall.services["channel"].rows(
        "SELECT attempt_no, provider_no FROM attempt"
    )

    await mall.calls_back(attempt_no, "REVERSED", provider_no=provider_no, amount_minor=50_000)

    await mall.until(trade, "review")
    await mall.booked()
    await mall.office.resolved(
        await mall.office.decide(await mall.case("CHANNEL_REVERSED"), ACCEPT)
    )
    await mall.until(trade, "paid")
    await mall.booked(**PAID)
    await mall.proves()


async def test_a_late_success_that_was_refused_is_released_and_refunded(mall: Mall):
    """Accepted out of suspense, refused, released with its cost; a refund books no second money."""
    await block(mall, PENDING)
    trade = await mall.order(17_703)
    await mall.shop.close(trade)
    await mall.until(trade, "review")
    await mall.office.decide(await mall.case("LATE_SUCCESS"), ACCEPT)
    await mall.until(trade, "paid")
    await mall.case("LEDGER_REFUSED")
    await mall.booked(**{"clearing__sim-a": -17_703, "suspense__": 17_703})

    await unblock(mall, PENDING)
    await released(mall)
    await mall.booked(
        **{
            "clearing__sim-a": -17_703 + 67,
            "merchant_pending__merchant": 17_703 - 106,
            "fee_income__": 106,
            "channel_cost__": -67,
        }
    )

    await mall.shop.refund(trade, 5_000)
    payment = mall.services["payment"].rows
    await eventually(lambda: payment("SELECT state FROM refund") == [("succeeded",)])
    [[share]] = payment("SELECT fee_minor FROM refund")
    await mall.booked(
        **{
            "clearing__sim-a": -17_703 + 67 + 5_000,
            "merchant_pending__merchant": 17_703 - 106 - 5_000 + share,
            "fee_income__": 106 - share,
            "channel_cost__": -67,
        }
    )
    await mall.proves()


async def test_what_a_failed_refund_gives_back_waits_for_the_merchant(mall: Mall):
    """Out of transit into suspense, and from there to merchant and fee."""
    trade = await mall.until(await mall.order(50_000), "paid")
    await mall.booked(**PAID)
    await block(mall, PENDING)
    await mall.shop.refund(trade, 10_094)  # Accepted by the provider, and then refused.
    await mall.case("LEDGER_REFUSED")
    await eventually(lambda: mall.books().get("suspense::CNY") == 10_094)

    await unblock(mall, PENDING)
    await released(mall)

    await mall.booked(**PAID)
    assert await items(mall) == [("REFUND_FAILED_SUSPENDED", 0, ["REFUND_RETURN_CREDITED"])]
    await mall.proves()
