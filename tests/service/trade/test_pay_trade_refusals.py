"""PayTrade refused: every reason in the order of the contract, and nothing left behind."""

from __future__ import annotations

from tests.service.trade.neighbours import Payment, change
from tests.service.trade.shop import BALANCE, QR, Shop, Trade, World, reason, refused, serial
from tongbao.payment.v1.events_pb2 import PaymentFailed
from tongbao.trade.v1 import trade_service_pb2 as pb


async def test_refusals_for_a_new_order_come_in_the_order_of_the_contract(world: World, shop: Shop):
    """Every reason of CreateTrade, then those of the tool; nothing is left behind."""
    known = shop.order()
    await shop.pay(known, request_id=(used := f"try-{serial()}"))
    wrong = shop.top_up(currency="XYZ", order_no=known.order_no, user_no="")
    wrong.product_code, wrong.merchant_id = "NO_SUCH", "nobody"
    tool, request_id = BALANCE, used

    async def now():
        return await refused(shop.pay(wrong, tool=tool, request_id=request_id))

    seen = [await now()]
    request_id = f"try-{serial()}"
    seen.append(await now())
    wrong.order_no = f"order-{serial()}"
    seen.append(await now())
    wrong.amount.currency_code = "USD"
    seen.append(await now())
    wrong.product_code = shop.recharge
    seen.append(await now())
    wrong.product_code = shop.collect
    seen.append(await now())
    wrong.merchant_id = shop.merchant_id
    seen.append(await now())
    wrong.product_code, wrong.merchant_id = shop.recharge, ""
    seen.append(await now())
    wrong.user_no = "u1"
    seen.append(await now())
    wrong.amount.currency_code = "CNY"
    seen.append(await now())
    wrong.product_code, wrong.merchant_id, wrong.user_no = shop.collect, shop.merchant_id, ""
    seen.append(await now())
    wrong.user_no = "u2"
    seen.append(await now())
    assert await reason(shop.stub.GetTrade(pb.GetTradeRequest(order_no=wrong.order_no))) == (
        "TRADE_NOT_FOUND"
    )
    wrong.user_no = "u1"

    assert (await shop.pay(wrong, tool=tool, request_id=request_id)).message.trade.state == (
        Trade.STATE_PAID
    )
    assert seen == [
        ("REQUEST_REUSED", {"field": "request_id", "number": used}),
        ("REQUEST_REUSED", {"field": "order_no", "number": known.order_no}),
        ("CURRENCY_UNKNOWN", {"currency_code": "XYZ"}),
        ("PRODUCT_NOT_FOUND", {"product_code": "NO_SUCH"}),
        ("MERCHANT_REQUIRED", {"type": "RECHARGE"}),
        ("MERCHANT_NOT_FOUND", {"merchant_id": "nobody"}),
        (
            "MERCHANT_CURRENCY_MISSING",
            {"merchant_id": shop.merchant_id, "currency_code": "USD"},
        ),
        ("USER_REQUIRED", {}),
        ("WALLET_NOT_FOUND", {"currency_code": "USD"}),
        ("TOOL_NOT_ALLOWED", {"tool": "BALANCE", "product_code": shop.recharge}),
        ("USER_REQUIRED", {}),
        ("WALLET_NOT_FOUND", {"currency_code": "CNY"}),
    ]


async def test_refusals_for_a_trade_that_exists_come_in_the_order_of_the_contract(fresh: World):
    """From a used request id to an open payment; the clock is shifted over the expiry."""
    world, shop = fresh, await fresh.shop()
    only_qr = await world.product(shop, 1, [QR])
    used = f"try-{serial()}"
    paid = (await shop.pay(request_id=used)).message.trade
    created = await shop.create(shop.order(product_code=only_qr))
    no_user = await shop.create(shop.order())
    no_wallet = await shop.create(shop.order(user_no="u2"))
    world.payment.then(world.payment.says(Payment.STATE_PROCESSING))
    open_trade = (await shop.pay()).message.trade
    again = f"try-{serial()}"

    async def now(target: Trade | str, tool: int, request_id: str = again):
        return await refused(shop.pay(target, tool=tool, request_id=request_id))

    seen = [
        await now("0" * 26, BALANCE, used),
        await now("0" * 26, BALANCE),
        await now(created, BALANCE),
        await now(no_user, BALANCE),
        await now(no_wallet, BALANCE),
        await now(paid, QR),
        await now(open_trade, QR),
    ]
    await world.trade.shift("31 minutes")
    seen += [
        await now(paid, QR),  # Not payable comes before expired,
        await now(open_trade, QR),  # and expired before in progress.
    ]
    expired = (await shop.trade(open_trade)).trade.expire_time.ToDatetime().isoformat()

    assert seen == [
        ("REQUEST_REUSED", {"field": "request_id", "number": used}),
        ("TRADE_NOT_FOUND", {"trade_no": "0" * 26}),
        ("TOOL_NOT_ALLOWED", {"tool": "BALANCE", "product_code": only_qr}),
        ("USER_REQUIRED", {}),
        ("WALLET_NOT_FOUND", {"currency_code": "CNY"}),
        ("TRADE_NOT_PAYABLE", {"trade_no": paid.trade_no, "state": "PAID"}),
        (
            "PAYMENT_IN_PROGRESS",
            {"trade_no": open_trade.trade_no, "payment_no": open_trade.payment_no},
        ),
        ("TRADE_NOT_PAYABLE", {"trade_no": paid.trade_no, "state": "PAID"}),
        (
            "TRADE_EXPIRED",
            {"trade_no": open_trade.trade_no, "expire_time": f"{expired}+00:00"},
        ),
    ]


async def test_a_refused_try_does_not_use_its_request_id_up(world: World, shop: Shop):
    """What was refused may be sent again under its number, when it fits."""
    world.payment.then(world.payment.says(Payment.STATE_PROCESSING))
    trade = (await shop.pay()).message.trade
    request_id = f"try-{serial()}"
    assert await reason(shop.pay(trade, request_id=request_id)) == "PAYMENT_IN_PROGRESS"
    failed = change(world.payment.payments[trade.payment_no], state=Payment.STATE_FAILED)
    await world.tell("payment", PaymentFailed(payment=failed))
    answer = await shop.pay(trade, request_id=request_id)
    assert not answer.replayed
    assert answer.message.trade.state == Trade.STATE_PAID


async def test_a_request_id_stands_for_its_content_for_ever(shop: Shop):
    """Another tool, another target, another kind of target: refused."""
    order, request_id = shop.order(user_no="u1"), f"try-{serial()}"
    trade = (await shop.pay(order, request_id=request_id)).message.trade
    assert await reason(shop.pay(order, tool=BALANCE, request_id=request_id)) == "REQUEST_REUSED"
    assert await reason(shop.pay(shop.order(), request_id=request_id)) == "REQUEST_REUSED"
    assert await reason(shop.pay(trade, request_id=request_id)) == "REQUEST_REUSED"


async def test_trades_of_other_apps_do_not_exist(world: World, shop: Shop):
    """Not for paying, and their request ids are their own."""
    other = await world.shop()
    trade = await shop.create()
    request_id = f"try-{serial()}"
    assert await refused(other.pay(trade, request_id=request_id)) == (
        "TRADE_NOT_FOUND",
        {"trade_no": trade.trade_no},
    )
    assert not (await shop.pay(trade, request_id=request_id)).replayed


async def test_a_call_needs_one_target(shop: Shop):
    """The contract's rules are kept at the door."""
    request = pb.PayTradeRequest(request_id="x", tool=QR)
    assert await reason(shop.stub.PayTrade(request)) == "INVALID_FIELDS"
    request.trade_no = "not a number"
    assert await reason(shop.stub.PayTrade(request)) == "INVALID_FIELDS"


async def test_services_and_operators_may_not_pay(world: World, shop: Shop):
    """Only apps trade."""
    stub = type(shop.stub)(world.trade.operator())
    assert await reason(stub.PayTrade(shop.payment())) == "PERMISSION_DENIED"
    inside = type(shop.stub)(world.trade.channel("payment"))
    assert await reason(inside.PayTrade(shop.payment())) == "PERMISSION_DENIED"


async def test_an_app_that_was_never_admitted_is_nobody(world: World, shop: Shop):
    """A token of an unknown issuer, and one signed by a stranger for a known one."""
    stranger = world.ground.app(shop.app.app_id)
    for signer in (world.ground.app("app_nobody"), stranger):
        stub = type(shop.stub)(world.trade.app(signer))
        assert await reason(stub.PayTrade(shop.payment())) == "TOKEN_INVALID"
