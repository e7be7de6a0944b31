"""Statements 明细: every entry once, in order, with the balance after it, from any side."""

import random
from functools import partial

import pytest

from ledger.flow.list_statement import list_statement
from ledger.store.account_view import Named
from ledger.store.statement import Span
from mesh.errors import Refused
from mesh.lists import Page
from tests.service.ledger.account_world import (
    BUSY,
    HIDDEN,
    IDLE,
    SCOPE,
    WALLETS,
    Writer,
    ids_of,
    named,
    page_of,
    pages,
    replayed,
)
from tests.service.ledger.books import (
    BLUE,
    PENDING,
    POST,
    RED,
    VOID,
    connect,
    post,
    resolve,
    transfer,
)
from tests.service.ledger.events import CLEARING, FEES, WALLET, booked, open_all, posting
from tests.service.ledger.events import PENDING as MERCHANT

EVERYTHING = Span()


def seen(line):
    """What of a line a replay of the journal can say."""
    return (
        line.seq,
        line.flags,
        line.amount_minor,
        line.balance_after_minor,
        line.is_debit,
        line.acct_date,
        line.create_time,
    )


def expected(rows):
    return [
        (row.seq, row.flags, row.amount, row.balance, row.is_debit, row.acct_date, row.create_time)
        for row in rows
    ]


async def test_a_position_of_another_account_leads_nowhere(desk):
    """Whoever makes up a page token sees nothing of others."""
    await open_all(desk)
    await booked(desk, posting("RECHARGED"), posting("COLLECTED"))
    [line], _ = await list_statement(desk, named(MERCHANT), span=EVERYTHING, page=page_of(50))

    made_up = Page(size=50, after=str(line.seq), scope=SCOPE)
    wallet = await list_statement(desk, named(WALLET), span=EVERYTHING, page=made_up)

    assert wallet == ([], "")


async def test_a_line_says_what_its_voucher_was_for(desk):
    """Template, numbers, the other side, the accounting date; balances in normal direction."""
    await open_all(desk)
    collected, refunded = posting("COLLECTED"), posting("REFUND_ASKED", amount_minor=4_000)
    await booked(desk, collected, refunded)

    lines, token = await list_statement(
        desk, named(MERCHANT), span=EVERYTHING, page=page_of(50), oldest_first=True
    )

    assert token == ""
    first, second = lines
    assert (first.template, first.source_no, first.trace_no, first.code) == (
        "COLLECTED",
        collected.source_no,
        "MALL-1",
        31,
    )
    assert (first.is_debit, first.amount_minor, first.balance_after_minor) == (False, 9_940, 9_940)
    assert first.other == CLEARING
    assert (second.is_debit, second.amount_minor, second.balance_after_minor) == (
        True,
        3_940,
        6_000,
    )
    assert second.template == "REFUND_ASKED"
    [day] = await desk.db.rows("SELECT acct_date, head_time FROM book")
    assert (second.acct_date, second.create_time) == (day.acct_date, day.head_time)
    assert first.txn is not None
    lines, _ = await list_statement(desk, named(CLEARING), span=EVERYTHING, page=page_of(50))
    assert [line.balance_after_minor for line in lines] == [9_962, 10_000, 9_940]
    assert [line.other for line in lines][1:] == [FEES, MERCHANT]


async def test_an_account_without_entries_has_an_empty_statement(desk):
    """From both sides, by any range."""
    await open_all(desk)
    [day] = await desk.db.rows("SELECT acct_date, business_now() AS now FROM book")
    for span in (EVERYTHING, Span(from_date=day.acct_date), Span(since=day.now, until=day.now)):
        for oldest_first in (True, False):
            answer = await list_statement(
                desk, named(MERCHANT), span=span, page=page_of(5), oldest_first=oldest_first
            )
            assert answer == ([], "")


async def test_an_account_that_was_never_opened_has_none(desk):
    """By name and by id."""
    for missing in (named(MERCHANT), Named(account_id=99)):
        with pytest.raises(Refused, match="account not found"):
            await list_statement(desk, missing, span=EVERYTHING, page=page_of(5))


@pytest.mark.parametrize("account", [BUSY, WALLETS[0], IDLE], ids=["busy", "usual", "idle"])
@pytest.mark.parametrize("seed", range(2))
async def test_any_part_from_either_end_is_what_the_journal_says(desk, dsn, account, seed):
    """Random spans of time and of accounting dates, random page sizes, with and without holds."""
    ids = await ids_of(desk, BUSY, *WALLETS)
    dice = random.Random(seed)
    with connect(dsn) as connection:
        Writer(connection, ids, seed).write(50, size=60)
        [account_id] = await ids_of(desk, account)
        rows = replayed(connection, account_id, -1 if account is BUSY else 1)
        blocks = connection.execute("SELECT create_time, acct_date FROM block").fetchall()
    assert len(rows) > 2
    if account is BUSY:
        kinds = {
            flag for row in rows for flag in (PENDING, POST, VOID, RED, BLUE) if row.flags & flag
        }
        assert kinds == {PENDING, POST, VOID, RED, BLUE}
    for _ in range(25):
        include_holds = dice.random() < 0.5
        span, keeps = _random_span(dice, blocks)
        wanted = expected(
            row for row in rows if keeps(row) and (include_holds or not row.flags & HIDDEN)
        )
        size = dice.choice([1, 7, 50, 200]) if len(wanted) < 300 else 200
        for oldest_first in (True, False):
            verb = partial(
                list_statement,
                desk,
                named(account),
                span=span,
                oldest_first=oldest_first,
                include_holds=include_holds,
            )
            listed = await pages(lambda page, verb=verb: verb(page=page), size)
            assert [seen(line) for line in listed] == (wanted if oldest_first else wanted[::-1])


def _random_span(dice, blocks):
    """Return a span that begins and ends somewhere, and what it asks of a row."""
    low, high = sorted(dice.choice(blocks) for _ in range(2))
    chance = dice.random()
    if chance < 0.1:
        return EVERYTHING, lambda row: True
    if chance < 0.3:
        return Span(since=low[0]), lambda row: row.create_time >= low[0]
    if chance < 0.5:
        return Span(until=high[0]), lambda row: row.create_time < high[0]
    if chance < 0.75:
        return (
            Span(since=low[0], until=high[0]),
            lambda row: low[0] <= row.create_time < high[0],
        )
    return (
        Span(from_date=low[1], to_date=high[1]),
        lambda row: low[1] <= row.acct_date <= high[1],
    )


@pytest.mark.parametrize("oldest_first", [True, False])
async def test_pages_are_whole_while_postings_go_on(desk, dsn, oldest_first):
    """What comes in between is not seen from the newest on, and comes last from the oldest on."""
    bank, anne = await ids_of(desk, BUSY, WALLETS[0])
    with connect(dsn) as connection:
        for amount in range(1, 41):
            post(connection, transfer(bank, anne, amount))
        more = iter(range(41, 1_000))

        def between():
            post(connection, transfer(bank, anne, next(more)), transfer(bank, anne, next(more)))

        listed = await pages(
            lambda page: list_statement(
                desk, named(WALLETS[0]), span=EVERYTHING, page=page, oldest_first=oldest_first
            ),
            7,
            between,
        )

    amounts = [line.amount_minor for line in listed]
    if oldest_first:
        assert amounts == list(range(1, len(amounts) + 1))
        assert len(amounts) > 40
    else:
        assert amounts == list(range(40, 0, -1))


async def test_holds_are_shown_when_asked_for(desk, dsn):
    """They move nothing, so a statement is whole without them."""
    bank, anne = await ids_of(desk, BUSY, WALLETS[0])
    with connect(dsn) as connection:
        hold = transfer(bank, anne, 30, PENDING)
        assert post(connection, transfer(bank, anne, 5), hold, resolve(hold, VOID)) == [0, 0, 0]

    told = {}
    for include_holds in (True, False):
        lines, _ = await list_statement(
            desk,
            named(WALLETS[0]),
            span=EVERYTHING,
            page=page_of(9),
            include_holds=include_holds,
            oldest_first=True,
        )
        told[include_holds] = [(one.flags, one.balance_after_minor) for one in lines]

    assert told == {True: [(0, 5), (PENDING, 5), (VOID, 5)], False: [(0, 5)]}


async def test_a_page_walks_so_far_and_leads_on(desk, dsn):
    """An entry behind ten thousand holds is found by the second page."""
    bank, anne = await ids_of(desk, BUSY, WALLETS[0])
    with connect(dsn) as connection:
        post(connection, transfer(bank, anne, 5))
        for _ in range(2):
            post(connection, *(transfer(bank, anne, 1, PENDING) for _ in range(5_000)))

    verb = partial(list_statement, desk, named(WALLETS[0]), span=EVERYTHING)
    empty, token = await verb(page=page_of(9))
    assert (empty, bool(token)) == ([], True)
    assert [line.amount_minor for line in await pages(lambda page: verb(page=page), 9)] == [5]
