"""Post: each event whole or not at all, once, with its voucher and its event."""

import asyncio
from dataclasses import replace

import pytest

from ledger.flow.open_account import open_account
from ledger.flow.post import post
from ledger.model import Account, AccountKind
from mesh.context import Acting, acting_as
from mesh.db import Database
from mesh.errors import Refused
from mesh.numbers import Kind
from tests.service.ledger.books import connect, uuid7, waiting
from tests.service.ledger.events import (
    CLEARING,
    FEES,
    NUMBERS,
    PENDING,
    SUSPENSE,
    WALLET,
    WALLETS,
    block,
    booked,
    open_all,
    posting,
    published,
    standing,
)
from tongbao.ledger.v1 import events_pb2

COUNTS = """
SELECT (SELECT count(*) FROM transfer) AS transfers, (SELECT count(*) FROM voucher) AS vouchers,
       (SELECT count(*) FROM outbox) AS packs
"""


async def counts(desk):
    """Return how many transfers, vouchers and outbox rows there are."""
    [row] = await desk.db.rows(COUNTS)
    return tuple(row)


async def test_a_collection_and_its_refund_leave_the_costs(desk):
    """Everything that came in has gone out; what the channel took is what remains."""
    await open_all(desk)

    assert await booked(desk, posting("COLLECTED")) == ["posted"]
    assert await standing(desk) == {
        CLEARING.name: 9_962,
        PENDING.name: 9_940,
        "fee_income::CNY": 60,
        "channel_cost::CNY": 38,
    }
    assert await booked(desk, posting("REFUND_ASKED")) == ["posted"]
    assert await standing(desk) == {
        CLEARING.name: 9_962,
        "refund_transit::CNY": 10_000,
        "channel_cost::CNY": 38,
    }
    assert await booked(desk, posting("REFUND_SUCCEEDED")) == ["posted"]
    assert await standing(desk) == {CLEARING.name: -38, "channel_cost::CNY": 38}


async def test_a_payment_by_wallet_clears(desk):
    """Recharge, pay, collect: the clearing account of wallets is back at zero."""
    await open_all(desk)

    got = await booked(
        desk,
        posting("RECHARGED"),
        posting("WALLET_PAID", amount_minor=4_000),
        posting("COLLECTED", amount_minor=4_000, channel_code="balance", cost_minor=0),
        posting("WALLET_REFUNDED", amount_minor=500),
    )

    assert got == ["posted"] * 4
    assert await standing(desk) == {
        CLEARING.name: 9_962,
        WALLET.name: 6_500,
        WALLETS.name: 500,
        PENDING.name: 3_940,
        "fee_income::CNY": 60,
        "channel_cost::CNY": 38,
    }


async def test_suspended_money_stands_in_suspense(desk):
    """Nobody owns it yet; the channel owes it all the same."""
    await open_all(desk)

    got = await booked(desk, posting("MISMATCH_SUSPENDED"), posting("COLLECT_SUSPENDED"))

    assert got == ["posted", "posted"]
    assert (await standing(desk))[SUSPENSE.name] == 20_000


async def test_a_failed_refund_gives_everything_back(desk):
    """To merchant and fee income, as if it had not been asked."""
    await open_all(desk)
    await booked(desk, posting("COLLECTED"))
    before = await standing(desk)

    assert await booked(desk, posting("REFUND_ASKED"), posting("REFUND_FAILED")) == ["posted"] * 2
    assert await standing(desk) == before


async def test_the_same_event_is_booked_once(desk):
    """A hundred at once and one later: one is posted, the others exist; one event goes out."""
    await open_all(desk)
    event = posting("COLLECTED")

    answers = await asyncio.gather(*(booked(desk, event) for _ in range(100)))

    assert sorted(answers) == [["exists"]] * 99 + [["posted"]]
    assert await booked(desk, event) == ["exists"]
    assert await counts(desk) == (3, 1, 1)


async def test_the_same_event_twice_in_one_call_is_booked_once(desk):
    """The first is posted, the second exists."""
    await open_all(desk)
    event = posting("COLLECTED")

    assert await booked(desk, event, event) == ["posted", "exists"]


async def test_a_batch_that_holds_an_event_twice_books_it_once(desk):
    """Below the coalescer too, which would never send such a batch."""
    await open_all(desk)
    sql = """
        WITH c AS (
            SELECT ROW(%(txn)s, 'T', 'S', 'X', 'mall', 3, 'CNY', now(), '\\x01',
                ARRAY[%(one)s, %(two)s]::uuid[], ARRAY[d.account_id, d.account_id],
                ARRAY[c.account_id, c.account_id], '{1,2}', '{1,2}')::chain AS chain
            FROM account d, account c
            WHERE d.name = %(debit)s AND c.name = %(credit)s
        )
        SELECT r.place, r.outcome FROM c, post_chains(1, ARRAY[chain, chain]) r
    """
    txn, one, two = (str(uuid7()) for _ in range(3))

    rows = await desk.db.rows(
        sql, txn=txn, one=one, two=two, debit=CLEARING.name, credit=SUSPENSE.name
    )

    assert [tuple(row) for row in rows] == [(1, "posted"), (2, "exists")]
    assert await counts(desk) == (2, 1, 1)


CHANGED = [
    dict(amount_minor=10_001),
    dict(fee_minor=0),
    dict(fee_minor=10_000),
    dict(cost_minor=0),
    dict(cost_minor=39),
    dict(channel_code="balance"),
    dict(merchant_id="mer_2"),
]


PAIRS = [
    (first, change)
    for first in [dict(), dict(fee_minor=0), dict(cost_minor=0)]
    for change in CHANGED
    if first != change
]


@pytest.mark.parametrize(("first", "change"), PAIRS)
async def test_a_number_stands_for_one_content(desk, first, change):
    """The same source and template with other facts is refused; what was booked stays."""
    await open_all(desk)
    await open_account(desk, Account(AccountKind.MERCHANT_PENDING, "mer_2", "CNY"))
    number = NUMBERS.next(Kind.PAYMENT)
    facts = {"source_no": number} | first
    assert await booked(desk, posting("COLLECTED", **facts)) == ["posted"]
    before = await standing(desk)

    got = await booked(desk, posting("COLLECTED", **facts | change))

    assert got == ["refused EXISTS_WITH_DIFFERENT_FIELDS"]
    assert await standing(desk) == before
    assert await booked(desk, posting("COLLECTED", **facts)) == ["exists"]


async def test_a_refusal_stays(desk):
    """Under its source and template, with other content too; another number may pass."""
    await open_all(desk)
    asked = posting("WALLET_PAID")
    assert await booked(desk, asked) == ["refused EXCEEDS_FLOOR"]
    assert await booked(desk, posting("RECHARGED")) == ["posted"]

    assert await booked(desk, asked) == ["refused EXCEEDS_FLOOR"]
    less = posting("WALLET_PAID", source_no=asked.source_no, amount_minor=1)
    assert await booked(desk, less) == ["refused EXCEEDS_FLOOR"]
    assert await booked(desk, posting("WALLET_PAID")) == ["posted"]


async def test_a_refusal_of_a_later_leg_stays_without_that_leg(desk):
    """What failed was the event, not the leg it failed by."""
    event, without = await with_and_without_fee(desk)

    assert await booked(desk, event) == ["refused DEBIT_ACCOUNT_BLOCKED"]
    assert await booked(desk, without) == ["refused DEBIT_ACCOUNT_BLOCKED"]


async def with_and_without_fee(desk):
    """Return one refund twice: with a fee that cannot be drawn, and without."""
    await open_all(desk)
    await booked(desk, posting("COLLECTED"))
    await block(desk, FEES, 1)
    number = NUMBERS.next(Kind.REFUND)
    facts = {"source_no": number, "amount_minor": 50}
    return posting("REFUND_ASKED", fee_minor=20, **facts), posting(
        "REFUND_ASKED", fee_minor=0, **facts
    )


async def test_of_two_contents_at_once_the_first_decides(desk):
    """They never share a statement, so the second meets the refusal of the first."""
    events = await with_and_without_fee(desk)

    answers = await asyncio.gather(*(booked(desk, event) for event in events))

    assert answers == [["refused DEBIT_ACCOUNT_BLOCKED"]] * 2


async def test_of_two_contents_at_two_replicas_the_first_decides(desk, dsn):
    """Both wait for the book; the second looks for refusals when it has it, not before."""
    events = await with_and_without_fee(desk)
    async with Database(dsn) as db:
        twin = replace(desk, db=db)
        calls = []
        with connect(dsn) as holder, holder.transaction():
            holder.execute("SELECT 1 FROM book FOR UPDATE")
            for count, one, event in zip((1, 2), (desk, twin), events, strict=True):
                calls.append(asyncio.create_task(booked(one, event)))
                await waiting(dsn, count)

        answers = await asyncio.gather(*calls)

    assert answers == [["refused DEBIT_ACCOUNT_BLOCKED"]] * 2


# How an event meets its accounts, and what it is told.
MET = [
    ("refused CREDIT_ACCOUNT_NOT_FOUND", posting("COLLECTED", merchant_id="mer_9"), None),
    ("refused DEBIT_ACCOUNT_NOT_FOUND", posting("WALLET_PAID", user_no="u9"), None),
    ("refused DEBIT_ACCOUNT_NOT_FOUND", posting("COLLECTED", currency_code="USD"), None),
    ("refused CREDIT_ACCOUNT_BLOCKED", posting("COLLECTED"), (PENDING, 2)),
    ("refused DEBIT_ACCOUNT_BLOCKED", posting("COLLECTED"), (CLEARING, 1)),
    ("refused DEBIT_ACCOUNT_BLOCKED", posting("COLLECTED"), (CLEARING, 4)),
    ("refused AMOUNT_OUT_OF_RANGE", posting("COLLECTED", fee_minor=10_001), None),
    ("refused AMOUNT_OUT_OF_RANGE", posting("RECHARGED", amount_minor=10**15 + 1), None),
    ("refused EXCEEDS_FLOOR", posting("REFUND_ASKED"), None),
    ("refused EXCEEDS_FLOOR", posting("REFUND_SUCCEEDED"), None),
]


@pytest.mark.parametrize(("told", "event", "blocked"), MET)
async def test_what_cannot_be_booked_is_refused_whole(desk, told, event, blocked):
    """No entry, no voucher, no event."""
    await open_all(desk)
    if blocked:
        await block(desk, *blocked)

    assert await booked(desk, event) == [told]
    assert await booked(desk, event) == [told]
    assert await counts(desk) == (0, 0, 0)


async def test_one_refusal_does_not_hurt_its_neighbours(desk):
    """Events of one call, and of one statement, stand on their own."""
    await open_all(desk)
    await booked(desk, posting("RECHARGED", amount_minor=100, cost_minor=0))
    events = [posting("WALLET_PAID", amount_minor=30) for _ in range(8)]

    assert await booked(desk, posting("WALLET_PAID"), posting("COLLECTED")) == [
        "refused EXCEEDS_FLOOR",
        "posted",
    ]
    answers = await asyncio.gather(*(booked(desk, event) for event in events))
    assert [one for [one] in answers] == ["posted"] * 3 + ["refused EXCEEDS_FLOOR"] * 5


async def test_what_waits_together_is_booked_together(desk):
    """Three hundred callers need two blocks, and as many outbox rows."""
    await open_all(desk)
    await booked(desk, posting("COLLECTED"))
    events = [posting("COLLECTED") for _ in range(300)]

    answers = await asyncio.gather(*(booked(desk, event) for event in events))

    assert answers == [["posted"]] * 300
    assert desk.db.sizes()["post_chains_1"] == {1: 1, 256: 1, 44: 1}
    assert await counts(desk) == (903, 301, 3)
    sent = await published(desk, events_pb2.VoucherPosted)
    assert [one.voucher.source_no for one in sent[1:]] == [event.source_no for event in events]


async def test_a_batch_is_no_larger_than_a_message_may_be(desk, dsn):
    """512 events fit into one, however many rows a statement may have."""
    await open_all(desk)
    async with Database(dsn, rows_max=4_096) as db:
        large = replace(desk, db=db)
        events = [posting("COLLECTED") for _ in range(600)]

        answers = await asyncio.gather(*(booked(large, event) for event in events))

        assert answers == [["posted"]] * 600
        assert db.sizes()["post_chains_1"] == {512: 1, 88: 1}


async def test_the_event_says_what_the_voucher_says(desk):
    """Template, source, trace, amount and time, for the app that asked."""
    await open_all(desk)
    event = posting("COLLECTED")
    with acting_as(Acting(app_id="shop")):
        await booked(desk, event)

    [told] = await published(desk, events_pb2.VoucherPosted)
    [row] = await desk.db.rows("""
        SELECT template, source_no, trace_no, app_id, amount_minor, currency_code, create_time,
               transfers FROM voucher
    """)

    assert row.app_id == "shop"
    assert row.transfers == 3
    assert (told.voucher.template, row.template) == ("COLLECTED",) * 2
    assert (told.voucher.source_no, row.source_no) == (event.source_no,) * 2
    assert (told.voucher.trace_no, row.trace_no) == ("MALL-1",) * 2
    assert (told.voucher.amount.minor_units, row.amount_minor) == (10_000,) * 2
    assert (told.voucher.amount.currency_code, row.currency_code) == ("CNY",) * 2
    assert told.voucher.create_time.ToDatetime(row.create_time.tzinfo) == row.create_time


async def test_a_malformed_event_stops_the_call_before_anything_is_booked(desk):
    """All of a call is looked at first."""
    await open_all(desk)

    with pytest.raises(Refused, match="template unknown"):
        await post(desk, [posting("COLLECTED"), posting("GIVEN_AWAY")])

    assert await counts(desk) == (0, 0, 0)


async def test_a_line_without_a_book_is_refused(desk):
    """There is a default; without it nothing says where to book."""
    await open_all(desk)
    await desk.db.rows("DELETE FROM book_of")

    with pytest.raises(Refused, match="book unknown: business_code=SHOP"):
        await post(desk, [posting("COLLECTED", business_code="SHOP")])


async def test_a_line_may_have_a_book_of_its_own(desk):
    """Its accounts are others, and what crosses two books is refused."""
    await desk.db.rows("INSERT INTO book (book_id, name) VALUES (2, 'own')")
    await desk.db.rows("INSERT INTO book_of (business_code, book_id) VALUES ('SHOP', 2)")
    await open_all(desk)
    await open_account(desk, Account(AccountKind.WALLET, "SHOP/u1", "CNY"))
    paid = posting("WALLET_PAID", business_code="SHOP")
    collected = posting("COLLECTED", business_code="SHOP")

    assert await booked(desk, paid, collected) == [
        "refused EXCEEDS_FLOOR",
        "refused DEBIT_ACCOUNT_NOT_FOUND",
    ]


@pytest.mark.parametrize(("date", "part"), [("20190101", "late"), ("20990101", "default")])
async def test_an_event_of_a_week_without_partition_is_booked_all_the_same(desk, date, part):
    """It lies beside the weeks; in the default partition, where none may be, the alarm finds it."""
    await open_all(desk)
    number = NUMBERS.next(Kind.PAYMENT)
    odd = posting("COLLECTED", source_no=date + number[8:])

    assert await booked(desk, odd, odd) == ["posted", "exists"]
    [row] = await desk.db.rows(f"SELECT count(*) FROM transfer_{part}")
    assert row.count == 3
