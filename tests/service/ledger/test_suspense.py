"""Money in doubt, item by item: what parked it, how old it is, what took it out again."""

import asyncio
import base64
import random

import pytest

from ledger.flow import read_suspense
from ledger.flow.list_suspense import list_suspense
from ledger.model import AccountKind
from ledger.store.suspense import ItemsWanted
from mesh.errors import Refused
from mesh.lists import Page
from tests.service.ledger.books import BOOK, connect
from tests.service.ledger.days import closed_day, next_day
from tests.service.ledger.events import booked, open_all, posting

ALL = [AccountKind.SUSPENSE, AccountKind.DUPLICATE, AccountKind.SURPLUS, AccountKind.SHORTAGE]


@pytest.fixture(autouse=True)
async def accounts(desk):
    """A business line with one merchant, one channel and one user."""
    await open_all(desk)


async def listed(desk, *, kinds=ALL[:2], settled=False, size=50, after="", **filters):
    """Return a page and its token; every account is explained by its items."""
    wanted = ItemsWanted(kinds=kinds, include_settled=settled, **filters)
    page = Page(size=size, after=after, scope=b"x" * 9)
    items, totals, token = await list_suspense(desk, book_id=BOOK, wanted=wanted, page=page)
    assert [total.unexplained_minor for total in totals] == [0] * len(totals)
    for item in items:
        assert item.open_minor == item.parked_minor - item.taken_minor
        assert item.taken_minor == sum(one.amount_minor for one in item.releases)
    return items, totals, token


async def items_of(desk, **asked):
    """Return number, parked, taken and open of each item."""
    items, _, _ = await listed(desk, **asked)
    return [(one.source_no, one.parked_minor, one.taken_minor, one.open_minor) for one in items]


async def book(desk, template, **facts):
    """Book an event; return it."""
    event = posting(template, **facts)
    assert await booked(desk, event) == ["posted"]
    return event


async def test_what_is_parked_stands_open_with_its_age(desk):
    first = await book(desk, "MISMATCH_SUSPENDED", trace_no="MALL-1")
    over = await closed_day(desk)
    await next_day(desk)
    second = await book(desk, "DUPLICATE_PARKED", trace_no="MALL-2", amount_minor=70)
    items, totals, _ = await listed(desk)
    assert [
        (one.kind, one.source_no, one.trace_no, one.template, one.channel_code, one.age_days)
        for one in items
    ] == [
        (AccountKind.SUSPENSE, first.source_no, "MALL-1", "MISMATCH_SUSPENDED", "sim", 2),
        (AccountKind.DUPLICATE, second.source_no, "MALL-2", "DUPLICATE_PARKED", "sim", 0),
    ]
    assert items[0].acct_date == over
    assert [(one.kind, one.balance_minor, one.open_items) for one in totals] == [
        (AccountKind.DUPLICATE, 70, 1), (AccountKind.SUSPENSE, 10_000, 1),
    ]  # fmt: skip
    assert len(await items_of(desk, min_age_days=2)) == 1
    assert await items_of(desk, min_age_days=3) == []
    assert await items_of(desk, currency_code="USD") == []


async def test_a_give_back_takes_out_of_the_oldest_of_its_trace(desk):
    """In parts, over two attempts; another trace keeps what it has."""
    one = await book(desk, "MISMATCH_SUSPENDED", amount_minor=100)
    two = await book(desk, "MISMATCH_SUSPENDED", amount_minor=50)
    other = await book(desk, "MISMATCH_SUSPENDED", amount_minor=7, trace_no="MALL-2")
    back = await book(desk, "SUSPENSE_RETURN_ASKED", amount_minor=120)
    assert await items_of(desk) == [
        (two.source_no, 50, 20, 30), (other.source_no, 7, 0, 7),
    ]  # fmt: skip
    items, _, _ = await listed(desk, settled=True)
    assert (items[0].source_no, items[0].open_minor) == (one.source_no, 0)
    [release] = items[0].releases
    assert (release.template, release.source_no, release.amount_minor) == (
        "SUSPENSE_RETURN_ASKED", back.source_no, 100,
    )  # fmt: skip

    await book(desk, "SUSPENSE_RETURN_FAILED", amount_minor=120, source_no=back.source_no)
    assert await items_of(desk) == [
        (one.source_no, 100, 0, 100), (two.source_no, 50, 0, 50), (other.source_no, 7, 0, 7),
    ]  # fmt: skip


async def test_an_acceptance_takes_out_under_the_number_of_the_payment(desk):
    """Suspense and fee are two entries of one voucher, and one release."""
    parked = await book(desk, "MISMATCH_SUSPENDED")
    paid = await book(desk, "SUSPENSE_COLLECTED")
    assert await items_of(desk) == []
    [item], _, _ = await listed(desk, settled=True)
    assert (item.source_no, item.parked_minor, item.taken_minor) == (
        parked.source_no, 10_000, 10_000,
    )  # fmt: skip
    [release] = item.releases
    assert (release.template, release.source_no) == ("SUSPENSE_COLLECTED", paid.source_no)


async def test_the_same_number_comes_before_the_trace(desk):
    """The newer one is reversed by its own number, so the older one of the trace stays."""
    older = await book(desk, "COLLECT_SUSPENDED")
    newer = await book(desk, "COLLECT_SUSPENDED")
    await book(desk, "SUSPENSE_REVERSED", source_no=newer.source_no)
    assert await items_of(desk) == [(older.source_no, 10_000, 0, 10_000)]
    await book(desk, "SUSPENSE_RESTORED", source_no=newer.source_no)
    assert await items_of(desk) == [
        (older.source_no, 10_000, 0, 10_000), (newer.source_no, 20_000, 10_000, 10_000),
    ]  # fmt: skip


async def test_what_no_trace_explains_is_an_item_below_zero(desk):
    given = await book(desk, "REFUND_SUSPENDED", trace_no="MALL-9", amount_minor=30)
    assert await items_of(desk) == [(given.source_no, 0, 30, -30)]
    parked = await book(desk, "MISMATCH_SUSPENDED", trace_no="MALL-9", amount_minor=100)
    assert await items_of(desk) == [(parked.source_no, 100, 30, 70)]


async def test_a_shortage_grows_by_debits(desk):
    short = await book(desk, "SHORTAGE_SUSPENDED", amount_minor=90)
    await book(desk, "SHORTAGE_WRITTEN_OFF", amount_minor=40)
    long = await book(desk, "SURPLUS_SUSPENDED", amount_minor=5)
    assert await items_of(desk, kinds=ALL) == [
        (short.source_no, 90, 40, 50), (long.source_no, 5, 0, 5),
    ]  # fmt: skip
    assert await items_of(desk) == []


async def test_pages_lead_through_all_items_once(desk):
    numbers = []
    for place in range(5):
        template = ("MISMATCH_SUSPENDED", "DUPLICATE_PARKED")[place % 2]
        numbers.append((await book(desk, template, trace_no=f"MALL-{place}")).source_no)
    seen, after = [], ""
    while True:
        items, totals, token = await listed(desk, size=2, after=after)
        assert sum(total.open_items for total in totals) == 5
        seen += [item.source_no for item in items]
        if not token:
            break
        after = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))[9:].decode()
    assert seen == numbers


async def test_a_book_that_is_not_there_is_refused(desk):
    page = Page(size=1, after="", scope=b"x" * 9)
    with pytest.raises(Refused, match="book not found"):
        await list_suspense(desk, book_id=99, wanted=ItemsWanted(kinds=ALL), page=page)


async def at_random(desk, chance, count):
    """Book so many events that park and take out, on a few traces."""
    kinds = ("MISMATCH_SUSPENDED", "SUSPENSE_RETURN_ASKED", "SUSPENSE_COLLECTED", "REFUND_RETURNED")
    for _ in range(count):
        trace_no, minor = f"MALL-{chance.randint(1, 3)}", chance.randint(1, 99)
        event = posting(
            chance.choice(kinds), trace_no=trace_no, amount_minor=minor, fee_minor=0, cost_minor=0
        )
        await booked(desk, event)


async def test_items_read_bit_by_bit_are_those_that_are_read_at_once(desk, dsn, monkeypatch):
    """After every few events and an entry at a time, by four at once; then all of it anew."""
    chance = random.Random(7)
    monkeypatch.setattr(read_suspense, "_STEP_ENTRIES", 1)
    for _ in range(8):
        await at_random(desk, chance, 4)
        pages = await asyncio.gather(*(listed(desk, settled=True) for _ in range(4)))
        assert pages == [pages[0]] * 4
    bit_by_bit = await listed(desk, settled=True, size=200)
    assert len(bit_by_bit[0]) > 8

    with connect(dsn) as connection:
        connection.execute("TRUNCATE suspense_read, suspense_move, suspense_item")
    monkeypatch.setattr(read_suspense, "_STEP_ENTRIES", 1_000)
    assert await listed(desk, settled=True, size=200) == bit_by_bit


async def test_items_stay_when_their_entries_have_left_the_database(desk, dsn):
    """With what took them out. A day is read before it closes, whether anybody looked or not."""
    await at_random(desk, random.Random(3), 12)
    over = await closed_day(desk)
    with connect(dsn) as connection:
        for table in ("transfer", "voucher"):
            connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER append_only")
            connection.execute(f"DELETE FROM {table}")

    items, totals, _ = await listed(desk, settled=True)

    assert {item.acct_date for item in items} == {over}
    assert len(items) > 3
    assert sum(len(item.releases) for item in items) > 3
    assert [total.balance_minor for total in totals if total.kind is ALL[0]] != [0]


@pytest.mark.parametrize("seed", range(3))
async def test_open_items_come_to_the_balance_whatever_happens(desk, seed):
    """Sixty events at random on four traces; what is open of a trace is what it put and took."""
    chance = random.Random(seed)
    puts = {"MISMATCH_SUSPENDED": 1, "REFUND_RETURNED": 1, "COLLECT_SUSPENDED": 1}
    takes = {"SUSPENSE_RETURN_ASKED": -1, "REFUND_SUSPENDED": -1, "SUSPENSE_REVERSED": -1}
    events, net = [], dict.fromkeys(("MALL-1", "MALL-2", "MALL-3", "MALL-4"), 0)
    used = []  # Number, trace and template.
    for _ in range(60):
        template, sign = chance.choice(sorted((puts | takes).items()))
        trace_no, source_no = chance.choice(sorted(net)), None
        if used and chance.random() < 0.3:
            source_no, trace_no, _ = chance.choice(used)
            if (source_no, trace_no, template) in used:
                continue
        event = posting(
            template, source_no=source_no, trace_no=trace_no, amount_minor=chance.randint(1, 99),
            cost_minor=0,
        )  # fmt: skip
        events.append(event)
        used.append((event.source_no, trace_no, template))
        net[trace_no] += sign * event.amount_minor
    assert set(await booked(desk, *events)) == {"posted"}

    items, totals, _ = await listed(desk, kinds=ALL[:1], settled=True, size=200)
    found = dict.fromkeys(net, 0)
    for item in items:
        found[item.trace_no] += item.open_minor
    assert found == net
    assert [one.balance_minor for one in totals] == [sum(net.values())]
    for trace_no in net:  # Money in and money out of one trace are never both left over.
        signs = {item.open_minor > 0 for item in items if item.open_minor if
                 item.trace_no == trace_no}  # fmt: skip
        assert len(signs) <= 1
