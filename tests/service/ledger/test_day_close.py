"""A day that is cut is closed: once, in order, and only when the journal comes to its balances."""

import asyncio
import re
from datetime import timedelta
from itertools import pairwise

import pytest

from ledger.flow.close_day import close_day
from ledger.model import Account
from ledger.store import day as store
from ledger.store.day import DayState, StepState
from mesh.batch import Rejected
from mesh.errors import Refused
from tests.service.ledger import books
from tests.service.ledger.books import BOOK, PENDING, POST, RED, VOID, connect, resolve, transfer
from tests.service.ledger.days import account_days, all_of, closed_day, next_day
from tests.service.ledger.events import booked, open_all, posting

WRITTEN = ("account_day", "voucher_day", "subject_day")
DRAFTS = ("day_sum", "voucher_sum")


async def refusal_of(desk, acct_date):
    with pytest.raises(Refused) as refused:
        await close_day(desk, book_id=BOOK, acct_date=acct_date)
    return refused.value


async def step(desk, acct_date, most=50_000):
    return await store.close_step(desk.db, book_id=BOOK, acct_date=acct_date, most=most)


async def written(desk):
    """Everything that closing writes, but when."""
    return [
        await all_of(desk, f"SELECT t::text AS row FROM {table} t ORDER BY 1")
        for table in (*WRITTEN, *DRAFTS)
    ]


async def test_a_closed_day_has_what_moved_on_it(desk):
    """Opening, turnover and closing of every account that moved; the others are as before."""
    await open_all(desk)
    await booked(desk, posting("COLLECTED"), posting("RECHARGED", cost_minor=0))
    first = await closed_day(desk)
    await booked(desk, posting("WALLET_PAID", amount_minor=4_000), posting("REFUND_ASKED"))
    second = await closed_day(desk)
    third = await closed_day(desk)

    assert await account_days(desk, first) == {
        "clearing:sim:CNY": (0, 20_000, 38, 19_962, 4),
        "merchant_pending:mer_1:CNY": (0, 0, 9_940, 9_940, 1),
        "fee_income::CNY": (0, 0, 60, 60, 1),
        "channel_cost::CNY": (0, 38, 0, 38, 1),
        "wallet:MALL/u1:CNY": (0, 0, 10_000, 10_000, 1),
    }
    assert await account_days(desk, second) == {
        "wallet:MALL/u1:CNY": (10_000, 4_000, 0, 6_000, 1),
        "clearing:balance:CNY": (0, 0, 4_000, -4_000, 1),
        "merchant_pending:mer_1:CNY": (9_940, 9_940, 0, 0, 1),
        "fee_income::CNY": (60, 60, 0, 0, 1),
        "refund_transit::CNY": (0, 0, 10_000, 10_000, 2),
    }
    assert await account_days(desk, third) == {}
    # Subjects go on whether they moved or not.
    [(opening, closing)] = await all_of(
        desk,
        """
        SELECT opening, closing FROM subject_day
        WHERE acct_date = %(third)s AND subject_code = '224101'
        """,
        third=third,
    )
    assert (opening, closing) == (-6_000, -6_000)


async def test_the_last_entry_of_an_account_is_found(desk):
    """`last_seq` leads to the entry whose balance is the closing one."""
    await open_all(desk)
    await booked(desk, *(posting("COLLECTED") for _ in range(3)))
    await closed_day(desk)

    assert (
        await all_of(
            desk,
            """
        SELECT a.name FROM account_day d JOIN account a USING (account_id)
        LEFT JOIN transfer t ON (t.book_id, t.seq) = (d.book_id, d.last_seq)
        WHERE CASE d.account_id WHEN t.debit_id THEN t.debit_after
                                WHEN t.credit_id THEN t.credit_after END
              IS DISTINCT FROM d.closing
    """,
        )
        == []
    )


async def test_closing_twice_changes_nothing(desk):
    """Nor do eight that close at once."""
    await open_all(desk)
    await booked(desk, posting("COLLECTED"))
    over = await next_day(desk)

    days = await asyncio.gather(*(close_day(desk, book_id=BOOK, acct_date=over) for _ in range(8)))
    before = await written(desk)
    await close_day(desk, book_id=BOOK, acct_date=over)

    assert {(day.state, day.close_time) for day in days} == {(DayState.CLOSED, days[0].close_time)}
    assert (await step(desk, over)).state is StepState.CLOSED
    assert await written(desk) == before
    assert all(before[:3])


async def test_a_day_is_closed_in_steps(desk):
    """One entry or account at a time comes to the same; others may do some of the steps."""
    await open_all(desk)
    for n in range(6):
        await booked(desk, posting("COLLECTED", fee_minor=n), posting("RECHARGED"))
    over = await next_day(desk)

    states = []
    while not states or states[-1] is StepState.MORE:
        states.append((await step(desk, over, most=1)).state)

    assert states == [StepState.MORE] * (12 + 5) + [StepState.CLOSED]
    in_steps = await written(desk)
    days = await all_of(desk, "SELECT state FROM book_day ORDER BY acct_date")
    assert days == [("closed",), ("open",)]
    assert await account_days(desk, over) == {
        "clearing:sim:CNY": (0, 120_000, 456, 119_544, 29),
        "merchant_pending:mer_1:CNY": (0, 0, 59_985, 59_985, 6),
        "wallet:MALL/u1:CNY": (0, 0, 60_000, 60_000, 6),
        "fee_income::CNY": (0, 0, 15, 15, 5),
        "channel_cost::CNY": (0, 456, 0, 456, 12),
    }
    assert [len(rows) for rows in in_steps] == [5, 7, 5, 0, 0]


async def sizes(desk):
    """How many rows there are of accounts, and of their sums."""
    counts = "SELECT (SELECT count(*) FROM account_day) AS a, (SELECT count(*) FROM day_sum) AS b"
    [row] = await all_of(desk, counts)
    return row


async def test_no_step_is_longer_than_it_may_be(desk, dsn):
    """Not the last one, nor one that takes a draft away: two accounts, and their few sums."""
    await open_all(desk)
    for n in range(6):
        await booked(desk, posting("COLLECTED", fee_minor=n), posting("RECHARGED"))
    over = await next_day(desk)
    with connect(dsn) as connection:
        seen = [(await sizes(desk), StepState.MORE)]
        while seen[-1][1] is StepState.MORE:
            if seen[-1][0][0] == 4:  # Four of five accounts are written: now it cannot close.
                connection.execute("UPDATE balance SET normal = -normal")
            state = (await step(desk, over, most=2)).state
            seen.append((await sizes(desk), state))

    assert seen[-1] == ((0, 0), StepState.UNBALANCED)
    by_step = [one for one, _ in seen]
    assert max(account for account, _ in by_step) == 4
    for (account, sums), (account_after, sums_after) in pairwise(by_step):
        assert abs(account_after - account) <= 2
        assert sums - sums_after <= 4
    assert [one for one in by_step if one[0] == 2 and one[1] < 4], "sums go with their accounts"


async def test_a_draft_goes_when_the_day_does_not_close(desk, dsn):
    """What is found at the end takes away what was written before it, and a repair helps."""
    await open_all(desk)
    await booked(desk, *(posting("RECHARGED") for _ in range(3)))
    over = await next_day(desk)
    with connect(dsn) as connection:
        connection.execute("ALTER TABLE transfer DISABLE TRIGGER append_only")
        connection.execute("UPDATE transfer SET amount = amount + 1 WHERE seq = 8193")
        steps = [await step(desk, over, most=1) for _ in range(4)]
        while steps[-1].state is StepState.MORE:
            steps.append(await step(desk, over, most=1))
        assert steps[-1].state is StepState.UNBALANCED
        assert await written(desk) == [[], [], [], [], []]

        connection.execute("UPDATE transfer SET amount = amount - 1 WHERE seq = 8193")
    day = await close_day(desk, book_id=BOOK, acct_date=over)
    assert day.state is DayState.CLOSED


async def test_days_close_in_order(desk):
    """An open one not at all, a later one not before the earlier one."""
    first, second = await next_day(desk), await next_day(desk)
    third = second + timedelta(days=1)

    unknown = await refusal_of(desk, first - timedelta(days=1))
    open_one = await refusal_of(desk, third)
    later = await refusal_of(desk, second)

    assert (unknown.reason, open_one.reason) == ("DAY_NOT_FOUND", "DAY_NOT_CUT")
    assert (later.reason, later.facts["acct_date"]) == ("DAY_NOT_CLOSED", first.isoformat())
    for acct_date in (second, third):  # Whoever asks the database itself is told the same.
        with pytest.raises(Rejected, match=r"not closed yet|that is cut"):
            await step(desk, acct_date)
    for acct_date in (first, second):
        day = await close_day(desk, book_id=BOOK, acct_date=acct_date)
        assert day.state is DayState.CLOSED


@pytest.mark.parametrize("table", WRITTEN)
@pytest.mark.parametrize("verb", ["UPDATE {} SET book_id = 2", "DELETE FROM {}", "TRUNCATE {}"])
async def test_what_was_written_stays(desk, table, verb):
    """As the journal does, also for the owner of the tables."""
    await open_all(desk)
    await booked(desk, posting("COLLECTED"))
    await closed_day(desk)

    with pytest.raises(Rejected, match="append-only"):
        await desk.db.rows(verb.format(table))


@pytest.fixture
async def raw(desk, dsn):
    """Two accounts by number: 1 is an asset of ours, 2 is owed by us."""
    with connect(dsn) as connection:
        connection.execute("INSERT INTO kind_subject VALUES ('test', '224104')")
        books.open_account(connection, 1, normal=-1)
        books.open_account(connection, 2)
        yield connection


async def test_holds_move_nothing_and_red_entries_take_back(desk, raw):
    """What is set aside or let go is no turnover; a red entry 红字 is turnover below zero."""
    sale, kept, let_go = (
        transfer(1, 2, 500),
        transfer(1, 2, 70, PENDING),
        transfer(1, 2, 7, PENDING),
    )
    red = books.reverse(sale, RED, 200)
    codes = books.post(raw, sale, kept, let_go, resolve(let_go, VOID), red)
    assert codes == [0] * 5
    first = await closed_day(desk)
    assert books.post(raw, resolve(kept, POST)) == [0]
    second = await closed_day(desk)

    assert await account_days(desk, first) == {
        "test:1:CNY": (0, 300, 0, 300, 2),
        "test:2:CNY": (0, 0, 300, 300, 2),
    }
    assert await account_days(desk, second) == {
        "test:1:CNY": (300, 70, 0, 370, 1),
        "test:2:CNY": (300, 0, 70, 370, 1),
    }


async def test_a_day_of_holds_only_has_no_turnover(desk, raw):
    """It is closed all the same."""
    assert books.post(raw, transfer(1, 2, 70, PENDING)) == [0]

    assert await account_days(desk, await closed_day(desk)) == {}


async def test_a_kind_without_a_subject_is_seen(desk, dsn):
    """Better no closed day than money that no report has."""
    with connect(dsn) as connection:
        books.open_account(connection, 1, normal=-1)
        books.open_account(connection, 2)
        assert books.post(connection, transfer(1, 2, 5)) == [0]

        refused = await refusal_of(desk, await next_day(desk))
        assert refused.reason == "DAY_UNBALANCED"
        assert "of a kind without a subject" in refused.facts["problem"]

        connection.execute("INSERT INTO kind_subject VALUES ('test', '224104')")
        over = desk.clock.local().date() - timedelta(days=1)
        assert (await close_day(desk, book_id=BOOK, acct_date=over)).state is DayState.CLOSED


TAMPERED = [
    ("amount", "UPDATE transfer SET amount = amount + 1 WHERE seq = {first}", "comes? to"),
    ("entry gone", "DELETE FROM transfer WHERE seq = {first}", "entries"),
    ("balance beside it", "UPDATE transfer SET debit_after = 1 WHERE seq = {last}", "comes? to"),
    ("block gone", "DELETE FROM block WHERE block_no = 2", "blocks"),
    ("another date", "UPDATE block SET acct_date = acct_date - 1 WHERE block_no = 2", "blocks"),
    (
        "a side of another currency",
        "UPDATE transfer SET credit_id = (SELECT account_id FROM account"
        " WHERE name = 'suspense::USD'), credit_after = amount WHERE seq = {last}",
        "debits .* credits",
    ),
    (
        "an account that is none",
        "UPDATE transfer SET debit_id = 0 WHERE seq = {last}",
        "is not there",
    ),
]


@pytest.mark.parametrize(("what", "change", "said"), TAMPERED, ids=[row[0] for row in TAMPERED])
async def test_a_tampered_journal_does_not_close(desk, dsn, what, change, said):
    """Nothing is written of the day, and it says what does not hold."""
    await open_all(desk)
    await booked(desk, *(posting("RECHARGED", cost_minor=0) for _ in range(2)))
    await desk.accounts.open(BOOK, Account.of("suspense::USD"))
    await booked(desk, posting("RECHARGED", cost_minor=0, amount_minor=77))
    over = await next_day(desk)
    # Behind the day, so that its last block is not the head of the book.
    await booked(desk, posting("RECHARGED", cost_minor=0))
    [(last,)] = await all_of(desk, "SELECT max(seq) AS seq FROM transfer WHERE amount = 77")
    with connect(dsn) as connection:
        for table in ("transfer", "block"):
            connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER append_only")
        changed = connection.execute(change.format(first=8192 + 1, last=last))
        assert changed.rowcount == 1

    refused = await refusal_of(desk, over)

    assert refused.reason == "DAY_UNBALANCED"
    assert re.search(said, refused.facts["problem"]), refused.facts["problem"]
    assert await written(desk) == [[], [], [], [], []]
    day = await store.find_day(desk.db, book_id=BOOK, acct_date=over)
    assert day.state is DayState.CUT
