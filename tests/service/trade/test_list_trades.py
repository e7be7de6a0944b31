"""ListTrades and ListRefunds: the newest first, page by page, one's own, however much there is."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from mesh import lists
from mesh.clock import to_timestamp
from mesh.numbers import Kind, first_at
from tests.service.trade.neighbours import Refund as Told
from tests.service.trade.shop import COLLECT, RECHARGE, Refund, Shop, Trade, World, reason
from tongbao.trade.v1 import trade_service_pb2 as pb


async def listed(shop: Shop, **filters) -> list[str]:
    """The numbers of all trades, over as many pages as there are."""
    return [trade.trade_no for page in await pages(shop, **filters) for trade in page]


async def pages(shop: Shop, **filters) -> list[list[Trade]]:
    found, token = [], ""
    while True:
        request = pb.ListTradesRequest(page_token=token, **filters)
        answer = await shop.stub.ListTrades(request)
        found.append(list(answer.trades))
        if not (token := answer.next_page_token):
            return found


async def created(shop: Shop, count: int, **fields) -> list[str]:
    """Numbers of new trades, the newest first."""
    items = [pb.CreateTradeRequest(trade=shop.order(**fields)) for _ in range(count)]
    answer = await shop.stub.BatchCreateTrades(pb.BatchCreateTradesRequest(items=items))
    return sorted((one.response.trade.trade_no for one in answer.results), reverse=True)


async def test_pages_follow_each_other_the_newest_first(shop: Shop):
    """Every trade on exactly one page; the last page leads nowhere."""
    numbers = await created(shop, 23)
    found = await pages(shop, page_size=5)
    assert [len(page) for page in found] == [5, 5, 5, 5, 3]
    assert [trade.trade_no for page in found for trade in page] == numbers
    [one] = await pages(shop, page_size=23)
    assert [trade.trade_no for trade in one] == numbers
    assert one[0] == (await shop.trade(numbers[0])).trade
    assert await listed(shop) == numbers


async def test_an_app_without_trades_has_one_empty_page(shop: Shop):
    """And no token."""
    assert await pages(shop) == [[]]


async def test_what_is_written_between_pages_moves_nothing(shop: Shop):
    """Newer trades are not on later pages, none is twice, none is missing."""
    numbers = await created(shop, 9)
    first = await shop.stub.ListTrades(pb.ListTradesRequest(page_size=4))
    newer = await created(shop, 5)
    request = pb.ListTradesRequest(page_size=500, page_token=first.next_page_token)
    rest = await shop.stub.ListTrades(request)
    seen = [trade.trade_no for trade in (*first.trades, *rest.trades)]
    assert seen == numbers
    assert (await listed(shop))[:5] == newer


async def test_another_apps_trades_are_not_there(world: World, shop: Shop):
    """Neither without a filter nor by its merchant."""
    other = await world.shop()
    await created(other, 2)
    mine = await created(shop, 2)
    assert await listed(shop) == mine
    assert await listed(shop, merchant_id=other.merchant_id) == []


async def test_filters_leave_what_they_name(world: World, shop: Shop):
    """Alone and together."""
    merchant = await world.merchant(shop)
    product = await world.product(shop, COLLECT, [1, 2])
    plain = (await shop.create()).trade_no
    theirs = (await shop.create(shop.order(merchant_id=merchant, user_no="u7"))).trade_no
    made = (await shop.create(shop.order(product_code=product, user_no="u7"))).trade_no
    paid = (await shop.paid(merchant_id=merchant)).trade_no
    topped = (await shop.pay(shop.top_up())).message.trade.trade_no
    cases = [
        ({"merchant_id": merchant}, [paid, theirs]),
        ({"user_no": "u7"}, [made, theirs]),
        ({"user_no": "u1"}, [topped]),
        ({"product_code": product}, [made]),
        ({"type": RECHARGE}, [topped]),
        ({"type": COLLECT}, [paid, made, theirs, plain]),
        ({"states": [Trade.STATE_PAID]}, [paid]),
        ({"states": [Trade.STATE_PAID, Trade.STATE_PAYING]}, [topped, paid]),
        ({"merchant_id": merchant, "states": [Trade.STATE_CREATED]}, [theirs]),
        ({"merchant_id": merchant, "user_no": "u7", "product_code": product}, []),
        ({"merchant_id": "nobody"}, []),
    ]
    for filters, wanted in cases:
        assert await listed(shop, **filters) == wanted, filters
        assert await listed(shop, page_size=1, **filters) == wanted, filters


async def test_a_span_begins_with_its_first_moment_and_ends_before_its_last(fresh: World):
    """Over days, and to the microsecond of a trade."""
    shop = await fresh.shop()
    made = []
    for _ in range(4):
        made.append(await shop.create())
        await fresh.trade.shift("20 hours")
    numbers = [trade.trade_no for trade in reversed(made)]
    moment = made[2].create_time.ToDatetime(tzinfo=UTC)
    after = to_timestamp(moment + timedelta(microseconds=1))
    assert await listed(shop, create_time_from=made[2].create_time) == numbers[:2]
    assert await listed(shop, create_time_from=after) == numbers[:1]
    assert await listed(shop, create_time_to=made[2].create_time) == numbers[2:]
    assert await listed(shop, create_time_to=after) == numbers[1:]
    both = {"create_time_from": made[1].create_time, "create_time_to": made[3].create_time}
    assert await listed(shop, **both) == numbers[1:3]
    assert await listed(shop, page_size=1, **both) == numbers[1:3]


async def test_a_token_is_for_its_caller_and_its_filters_only(world: World, shop: Shop):
    """Other filters, another app, another method, or any other text."""
    await created(shop, 3)
    answer = await shop.stub.ListTrades(
        pb.ListTradesRequest(page_size=1, states=[Trade.STATE_CREATED])
    )
    token = answer.next_page_token
    good = pb.ListTradesRequest(page_size=2, states=[Trade.STATE_CREATED], page_token=token)
    assert len((await shop.stub.ListTrades(good)).trades) == 2, "another size is the same list"

    other = await world.shop()
    refused = [
        shop.stub.ListTrades(pb.ListTradesRequest(page_size=2, page_token=token)),
        shop.stub.ListTrades(pb.ListTradesRequest(states=[Trade.STATE_PAID], page_token=token)),
        other.stub.ListTrades(good),
        shop.stub.ListRefunds(pb.ListRefundsRequest(page_token=token)),
        *(
            shop.stub.ListTrades(
                pb.ListTradesRequest(states=[Trade.STATE_CREATED], page_token=forged)
            )
            for forged in ("x", token[:-2], token[:13], "A" * 48, "_" * 5, token + "-__-" * 9)
        ),
    ]
    assert [await reason(call) for call in refused] == ["PAGE_TOKEN_INVALID"] * 10
    odd = pb.ListTradesRequest(page_token="a b")
    assert await reason(shop.stub.ListTrades(odd)) == "INVALID_FIELDS"


@pytest.mark.parametrize(
    "wrong",
    [
        {"page_size": 501},
        {"page_size": -1},
        {"states": [0]},
        {"states": [99]},
        {"type": 77},
        {"create_time_from": {"seconds": 0}},
        {"create_time_to": {"seconds": 253402300800}},
        {"merchant_id": "a b"},
    ],
)
async def test_filters_that_say_nothing_are_malformed(shop: Shop, wrong):
    """Before anything is read."""
    request = pb.ListTradesRequest(**wrong)
    assert await reason(shop.stub.ListTrades(request)) == "INVALID_FIELDS"


async def test_a_rare_trade_is_found_by_short_pages(shop: Shop, monkeypatch):
    """A page looks at so many rows, and leads on when it has found few or none."""
    [rare] = [(await shop.paid()).trade_no]
    await created(shop, 20)
    monkeypatch.setattr(lists, "SCAN_MAX", 6)
    found = await pages(shop, states=[Trade.STATE_PAID], page_size=2)
    assert [[trade.trade_no for trade in page] for page in found] == [[], [], [], [rare]]
    assert len(await pages(shop, page_size=500)) == 1, "without a filter nothing is passed over"


async def test_refunds_of_the_app_and_of_one_trade(world: World, shop: Shop):
    """By state, by trade, page by page; another app's trade has none."""
    one, other = await shop.paid(), await shop.paid()
    world.payment.then(
        world.payment.says(Told.STATE_SUCCEEDED),
        world.payment.says(Told.STATE_FAILED, failure_reason="REFUND_UNFUNDED"),
    )
    made = [
        (await shop.refund(one, 10)).message.refund,
        (await shop.refund(one, 20)).message.refund,
    ]
    made.append((await shop.refund(other, 30)).message.refund)
    numbers = [refund.refund_no for refund in reversed(made)]

    async def of(caller: Shop = shop, **filters) -> list[str]:
        found, token = [], ""
        while True:
            request = pb.ListRefundsRequest(page_token=token, page_size=1, **filters)
            answer = await caller.stub.ListRefunds(request)
            found += [refund.refund_no for refund in answer.refunds]
            if not (token := answer.next_page_token):
                return found

    assert await of() == numbers
    assert await of(trade_no=one.trade_no) == numbers[1:]
    assert await of(states=[Refund.STATE_FAILED]) == [numbers[1]]
    assert await of(create_time_from=made[2].create_time) == numbers[:1]
    assert await of(await world.shop(), trade_no=one.trade_no) == []


async def test_a_list_goes_along_an_index(fresh: World, monkeypatch):
    """Of 29,000 trades of two years a page reads a few; no table is read as a whole."""
    shop = await fresh.shop()
    await shop.paid(user_no="u7")
    fresh.trade.rows(_MANY)
    fresh.trade.rows("ANALYZE trade")
    asked = []
    run = fresh.desk.db.rows

    async def noted(sql, **params):
        asked.append((sql, params))
        return await run(sql, **params)

    monkeypatch.setattr(fresh.desk.db, "rows", noted)
    now = fresh.desk.clock.now()
    for filters in (
        {},
        {"merchant_id": shop.merchant_id},
        {"user_no": "u7"},
        {"create_time_to": to_timestamp(now - timedelta(days=100))},
        {"create_time_from": to_timestamp(now), "create_time_to": to_timestamp(now)},
    ):
        asked.clear()
        answer = await shop.stub.ListTrades(pb.ListTradesRequest(page_size=50, **filters))
        assert len(answer.trades) <= 50
        [(sql, params)] = [one for one in asked if "AS scanned" in one[0]]
        rows = await run(f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, BUFFERS OFF) {sql}", **params)
        plan = [line for (line,) in rows]
        whole = [line for line in plan if "Seq Scan" in line and "trade_default" not in line]
        assert not whole, "\n".join(plan)
        read = sum(
            int(found[1]) for line in plan if (found := re.search(r"Index.*rows=(\d+)", line))
        )
        assert read <= 102, "\n".join(plan)


# Copies of the one trade there is, over two years, of fifty users.
_MANY = """
INSERT INTO trade SELECT made.*
FROM (SELECT trade AS t FROM trade LIMIT 1) one,
     generate_series('2026-01-01'::timestamptz, '2027-12-31', '24 hours') AS day,
     generate_series(1, 40) AS n,
     LATERAL jsonb_populate_record(t, jsonb_build_object(
        'trade_no', to_char(day, 'YYYYMMDD') || 'TR' || lpad(n::text, 16, '0'),
        'user_no', 'u' || 100 + n, 'create_time', day)) AS made
"""


def test_a_moment_bounds_the_numbers_made_from_then_on():
    """A millisecond earlier and later."""
    moment = datetime(2026, 7, 4, 13, 14, 15, 678_900, tzinfo=UTC)
    steps = [first_at(Kind.TRADE, moment + timedelta(milliseconds=ms)) for ms in (-1, 0, 1)]
    assert steps == sorted(set(steps))
    assert steps[1].startswith("20260704TR")
    assert {len(step) for step in steps} == {16}
