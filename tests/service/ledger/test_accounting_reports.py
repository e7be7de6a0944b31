"""What accountants read of closed days: trial balance, balance sheet, income, vouchers."""

import asyncio
import base64
from datetime import timedelta

import pytest

from ledger.flow._accounts import Request
from ledger.flow.block_account import block_account
from ledger.flow.close_account import close_account
from ledger.flow.close_day import close_day
from ledger.flow.close_income import close_income
from ledger.flow.cut_day import cut_day
from ledger.flow.get_balance_sheet import get_balance_sheet
from ledger.flow.get_day_trial_balance import get_day_trial_balance
from ledger.flow.get_income_statement import get_income_statement
from ledger.flow.list_day_vouchers import list_day_vouchers
from ledger.flow.list_days import list_days
from ledger.flow.open_account import open_account
from ledger.flow.prove_book import prove_book
from ledger.flow.set_account_limits import set_account_limits
from ledger.model import NATURES, Account, AccountKind
from ledger.store.account_view import Named
from ledger.templates.funds import CLOSES
from mesh.errors import Refused
from mesh.lists import Page
from tests.service.ledger.books import BOOK
from tests.service.ledger.days import all_of, closed_day, next_day
from tests.service.ledger.events import booked, open_all, posting, standing

FEES = Account.of("fee_income::CNY")


def page(size=50, after=""):
    return Page(size=size, after=after, scope=b"x" * 9)


def after_of(token):
    """Return where a token leads."""
    return base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))[9:].decode()


async def trial(desk, first, last=None):
    return await get_day_trial_balance(desk, book_id=BOOK, first=first, last=last or first)


async def income(desk, first, last=None):
    found = await get_income_statement(desk, book_id=BOOK, first=first, last=last or first)
    return {
        one.currency_code: (one.income_minor, one.expenses_minor, one.profit_minor)
        for one in found.totals
    }


async def sheet(desk, acct_date):
    """Return the totals by currency, each proved to balance."""
    found = await get_balance_sheet(desk, book_id=BOOK, acct_date=acct_date)
    assert all(total.balanced for total in found.totals)
    return {
        one.currency_code: (
            one.assets_minor,
            one.liabilities_minor,
            one.equity_minor,
            one.income_minor,
        )
        for one in found.totals
    }


def figures(line):
    return [
        (sides.debit_minor, sides.credit_minor)
        for sides in (line.opening, line.turnover, line.closing)
    ]


@pytest.fixture
async def three_days(desk):
    """Three closed days; on the third one nothing happened."""
    await open_all(desk)
    await open_account(desk, Account(AccountKind.CLEARING, "sim", "USD"))
    await open_account(desk, Account(AccountKind.WALLET, "MALL/u1", "USD"))
    await booked(desk, posting("COLLECTED"), posting("RECHARGED"))
    await booked(desk, posting("RECHARGED", currency_code="USD", amount_minor=500, cost_minor=2))
    first = await closed_day(desk)
    await booked(desk, posting("WALLET_PAID", amount_minor=4_000), posting("REFUND_ASKED"))
    await booked(desk, posting("COLLECTED", fee_minor=100, cost_minor=0))
    second = await closed_day(desk)
    third = await closed_day(desk)
    return first, second, third


async def test_a_trial_balance_adds_up(desk, three_days):
    """By subject and currency; a parent is the sum of its children, side by side."""
    first, second, _ = three_days

    found = await trial(desk, second)

    lines = {(one.currency_code, one.subject_code): figures(one) for one in found.lines}
    assert lines["CNY", "220201"] == [(0, 9_940), (9_940, 9_900), (0, 9_900)]
    assert lines["CNY", "224101"] == [(0, 10_000), (4_000, 0), (0, 6_000)]
    assert lines["CNY", "224103"] == [(0, 0), (0, 10_000), (0, 10_000)]
    assert lines["CNY", "2241"] == [(0, 10_000), (4_000, 10_000), (0, 16_000)]
    assert lines["CNY", "101201"] == [(19_924, 0), (10_000, 4_000), (25_924, 0)]
    assert lines["CNY", "600101"] == [(0, 60), (60, 100), (0, 100)]
    assert lines["USD", "224101"] == [(0, 500), (0, 0), (0, 500)]
    assert [*lines] == sorted(lines)
    assert [(one.currency_code, one.balanced) for one in found.totals] == [
        ("CNY", True),
        ("USD", True),
    ]
    assert figures(found.totals[0]) == [(20_000, 20_000), (24_000, 24_000), (26_000, 26_000)]
    assert figures((await trial(desk, first)).totals[1]) == [(0, 0), (502, 502), (500, 500)]


async def test_a_trial_balance_of_days_is_theirs_together(desk, three_days):
    """Opening of the first, turnover of all, closing of the last."""
    first, second, third = three_days

    whole, parts = await trial(desk, first, third), [await trial(desk, day) for day in three_days]

    def by_subject(found):
        return {(one.currency_code, one.subject_code): figures(one) for one in found.lines}

    each = [by_subject(found) for found in parts]
    for key, (opening, turnover, closing) in by_subject(whole).items():
        assert opening == each[0].get(key, [(0, 0)])[0]
        assert closing == each[2][key][2]
        turnovers = [one[key][1] for one in each if key in one]
        assert turnover == tuple(map(sum, zip(*turnovers, strict=True)))
    assert all(total.balanced for total in whole.totals)
    assert figures(parts[2].totals[0])[1] == (0, 0)


async def test_a_balance_sheet_balances(desk, three_days):
    """Assets are what is owed, and what was earned so far."""
    first, _, third = three_days

    assert await sheet(desk, first) == {
        "CNY": (19_924, 19_940, 0, 60 - 76),
        "USD": (498, 500, 0, -2),
    }
    assert await sheet(desk, third) == {
        "CNY": (25_924, 9_900 + 16_000, 0, 100 - 76),
        "USD": (498, 500, 0, -2),
    }
    found = await get_balance_sheet(desk, book_id=BOOK, acct_date=third)
    lines = {(one.currency_code, one.subject_code): one.amount_minor for one in found.lines}
    assert lines["CNY", "1012"] == lines["CNY", "101201"] == 25_924
    assert lines["CNY", "2202"] + lines["CNY", "2241"] == 25_900
    assert not [code for _, code in lines if code.startswith("6")]


async def test_an_income_statement_has_what_was_earned(desk, three_days):
    """On those days, whatever stood there before; a fee given back is less income."""
    first, second, third = three_days

    assert await income(desk, first) == {"CNY": (60, 76, -16), "USD": (0, 2, -2)}
    assert await income(desk, second) == {"CNY": (40, 0, 40), "USD": (0, 0, 0)}
    assert await income(desk, first, third) == {"CNY": (100, 76, 24), "USD": (0, 2, -2)}
    found = await get_income_statement(desk, book_id=BOOK, first=first, last=third)
    assert {(one.currency_code, one.subject_code): one.amount_minor for one in found.lines} == {
        ("CNY", "6001"): 100,
        ("CNY", "600101"): 100,
        ("CNY", "6401"): 76,
        ("CNY", "640101"): 76,
        ("USD", "6401"): 2,
        ("USD", "640101"): 2,
    }


async def test_income_is_carried_into_profit(desk, three_days):
    """Profit moves by what the income statement says, which stays what it was."""
    first, second, third = three_days
    before = await income(desk, first, third)

    period, totals = await close_income(desk, book_id=BOOK, to=third)

    assert (period.from_date, period.to_date) == (first, third)
    assert {one.currency_code: one.profit_minor for one in totals} == {"CNY": 24, "USD": -2}
    balances = await standing(desk)
    assert (balances["profit::CNY"], balances["profit::USD"]) == (24, -2)
    assert not {"fee_income::CNY", "channel_cost::CNY", "channel_cost::USD"} & {*balances}
    fourth = await closed_day(desk)
    assert await income(desk, fourth) == {"CNY": (0, 0, 0), "USD": (0, 0, 0)}
    assert await income(desk, first, fourth) == await income(desk, first, third) == before
    assert await sheet(desk, fourth) == {
        "CNY": (25_924, 25_900, 24, 0),
        "USD": (498, 500, -2, 0),
    }
    assert (await prove_book(desk)).findings == []


async def test_a_period_is_carried_once(desk, three_days):
    """However many ask for it, and however often."""
    *_, third = three_days

    answers = await asyncio.gather(*(close_income(desk, book_id=BOOK, to=third) for _ in range(4)))
    again = await close_income(desk, book_id=BOOK, to=third)

    assert again[0].booked
    assert all(totals == again[1] for _, totals in answers)
    assert (await standing(desk))["profit::CNY"] == 24
    vouchers = await all_of(desk, "SELECT template FROM voucher WHERE template LIKE '%%CLOSED%%'")
    assert len(vouchers) == 3


async def test_periods_follow_each_other(desk, three_days):
    """Each begins behind the one before it, whenever that was booked."""
    first, second, third = three_days

    one, early = await close_income(desk, book_id=BOOK, to=first)
    two, late = await close_income(desk, book_id=BOOK, to=third)

    assert (two.from_date, two.to_date) == (first + timedelta(days=1), third)
    assert [total.profit_minor for total in early] == [-16, -2]
    assert [total.profit_minor for total in late] == [40, 0]
    assert (await standing(desk))["profit::CNY"] == 24
    with pytest.raises(Refused) as refused:
        await close_income(desk, book_id=BOOK, to=second)
    assert refused.value.reason == "PERIOD_OUT_OF_ORDER"
    assert refused.value.facts["last"] == third.isoformat()


async def test_income_on_the_other_side_is_carried_too(desk):
    """More fees were given back than taken: the mirror template."""
    await open_all(desk)
    await booked(desk, posting("COLLECTED", fee_minor=0, cost_minor=0))
    await booked(desk, posting("REFUND_ASKED", fee_minor=500))
    over = await closed_day(desk)

    _, totals = await close_income(desk, book_id=BOOK, to=over)

    assert [(one.income_minor, one.profit_minor) for one in totals] == [(-500, -500)]
    balances = await standing(desk)
    assert balances["profit::CNY"] == -500
    assert "fee_income::CNY" not in balances


def kinds_that_are_closed():
    """The kinds of accounts that carry income into profit, and the profit."""
    legs = [leg for template in CLOSES.values() for leg in template.legs]
    return sorted({side.kind for leg in legs for side in (leg.debit, leg.credit)})


@pytest.mark.parametrize("kind", kinds_that_are_closed())
async def test_nobody_can_have_income_refused(desk, kind):
    """Its accounts are not blocked, limited or closed through any door, and have no floor."""
    account = Account(kind, "", "CNY")
    await desk.accounts.open(BOOK, account)
    request = Request(
        request_id="r-1", fingerprint=b"", named=Named(account=account), cause="a test"
    )
    for change in (
        block_account(desk, request, marks=1),
        set_account_limits(desk, request, floor_minor=0, cap_minor=None),
        close_account(desk, request),
    ):
        with pytest.raises(Refused, match="account indispensable"):
            await change
    assert not NATURES[kind].floored
    assert all(template.opens for template in CLOSES.values())


async def test_a_period_of_long_ago_is_carried_by_numbers_of_today(desk, three_days):
    """Under old ones its entries would belong to what has left the database."""
    *_, third = three_days
    await desk.clock.advance(desk.db, timedelta(days=400))
    today = await next_day(desk)

    period, _ = await close_income(desk, book_id=BOOK, to=third)

    assert period.claim_date == today + timedelta(days=1)
    numbers = await all_of(
        desk, "SELECT DISTINCT left(source_no, 8) FROM voucher WHERE template LIKE '%%CLOSED%%'"
    )
    assert numbers == [(f"{period.claim_date:%Y%m%d}",)]


async def test_vouchers_have_a_day_added_up(desk, three_days):
    """One per template and currency, debits equal to credits, the same every time."""
    first, *_ = three_days

    vouchers, token = await list_day_vouchers(desk, book_id=BOOK, acct_date=first, page=page())

    assert token == ""
    day = f"{first:%Y%m%d}"
    assert [(one.key, one.template) for one in vouchers] == [
        (f"1-{day}-3-CNY", "COLLECTED"),
        (f"1-{day}-4-CNY", "RECHARGED"),
        (f"1-{day}-4-USD", "RECHARGED"),
    ]
    assert [(line.gl_code, line.debit_minor, line.credit_minor) for line in vouchers[0].lines] == [
        ("1012.01", 10_000, 0),
        ("6401.01", 38, 0),
        ("1012.01", 0, 38),
        ("2202.01", 0, 9_940),
        ("6001.01", 0, 60),
    ]
    for voucher in vouchers:
        assert sum(line.debit_minor for line in voucher.lines) == sum(
            line.credit_minor for line in voucher.lines
        )
        assert all(bool(line.debit_minor) != bool(line.credit_minor) for line in voucher.lines)
        assert voucher.summary


async def test_vouchers_come_in_pages(desk, three_days):
    """Two of the three, then the last one."""
    first, *_ = three_days

    begin, token = await list_day_vouchers(desk, book_id=BOOK, acct_date=first, page=page(2))
    rest, end = await list_day_vouchers(
        desk, book_id=BOOK, acct_date=first, page=page(2, after_of(token))
    )

    assert [one.currency_code for one in (*begin, *rest)] == ["CNY", "CNY", "USD"]
    assert (len(begin), end) == (2, "")


async def test_days_come_in_pages(desk, three_days):
    """The newest first; the last page says that it is the last."""
    first, second, third = three_days

    begin, token = await list_days(desk, book_id=BOOK, page=page(2))
    rest, end = await list_days(desk, book_id=BOOK, page=page(2, after_of(token)))

    today = third + timedelta(days=1)
    assert [day.acct_date for day in (*begin, *rest)] == [today, third, second, first]
    assert end == ""


REPORTS = {
    "trial balance": lambda desk, at, book: get_day_trial_balance(
        desk, book_id=book, first=at, last=at
    ),
    "balance sheet": lambda desk, at, book: get_balance_sheet(desk, book_id=book, acct_date=at),
    "income": lambda desk, at, book: get_income_statement(desk, book_id=book, first=at, last=at),
    "vouchers": lambda desk, at, book: list_day_vouchers(
        desk, book_id=book, acct_date=at, page=page()
    ),
    "close": lambda desk, at, book: close_income(desk, book_id=book, to=at),
}


@pytest.mark.parametrize("ask", REPORTS.values(), ids=REPORTS)
async def test_reports_are_of_closed_days(desk, ask):
    """By precedence: no such book, no such day, a day that may still change."""
    over = await closed_day(desk)
    cut = await next_day(desk)
    today = cut + timedelta(days=1)

    wanted = [
        (9, over, "BOOK_NOT_FOUND"),
        (BOOK, over - timedelta(days=1), "DAY_NOT_FOUND"),
        (BOOK, cut, "DAY_NOT_CLOSED"),
        (BOOK, today, "DAY_NOT_CLOSED"),
    ]
    for book_id, acct_date, reason in wanted:
        with pytest.raises(Refused) as refused:
            await ask(desk, acct_date, book_id)
        assert refused.value.reason == reason
    assert await ask(desk, over, BOOK) is not None


async def test_a_date_without_a_day_reads_as_the_day_before(desk):
    """A balance sheet as of a Sunday that nobody cut is Friday's."""
    await open_all(desk)
    await booked(desk, posting("COLLECTED"))
    friday = desk.clock.local().date()
    await desk.clock.advance(desk.db, timedelta(days=3))
    await cut_day(desk, book_id=BOOK, to=desk.clock.local().date())
    await close_day(desk, book_id=BOOK, acct_date=friday)

    assert await sheet(desk, friday + timedelta(days=2)) == await sheet(desk, friday)
