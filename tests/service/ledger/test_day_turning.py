"""Days turn by themselves: at midnight of business time, and once everything else is right."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import grpc
import pytest
from structlog.testing import capture_logs

from ledger.accounts import Accounts
from ledger.flow.turn_days import turn_days
from ledger.store import day as store
from ledger.store.day import DayState
from ledger.workers import keep_days
from mesh.clock import from_timestamp
from mesh.db import Database
from mesh.wire import money
from tests.service.ledger.books import BOOK, connect
from tests.service.ledger.days import all_of, next_day
from tests.service.ledger.events import booked, open_all, posting
from tests.service.ledger.test_service import (
    CLEARING,
    PENDING,
    WALLET,
    Neighbours,
    item,
    open_accounts,
    recharge,
)
from tests.services import info_of
from tests.waiting import eventually
from tongbao.ledger.v1 import accounting_service_pb2 as pb
from tongbao.ledger.v1 import ledger_service_pb2
from tongbao.ledger.v1.accounting_service_pb2_grpc import AccountingServiceStub


async def states(desk):
    days = await store.page_of_days(desk.db, book_id=BOOK, before=None, size=9)
    return [day.state for day in days]


async def test_a_day_turns_when_it_is_over(desk):
    """Not before; and once."""
    await open_all(desk)
    await booked(desk, posting("COLLECTED"))
    over = desk.clock.local().date()
    assert await turn_days(desk) == []
    await desk.clock.advance(desk.db, timedelta(days=1))

    [turned] = await turn_days(desk)

    assert (turned.book_id, turned.acct_date, turned.problem) == (BOOK, over, "")
    assert [total.balanced for total in turned.balance.totals] == [True]
    assert await turn_days(desk) == []
    assert await states(desk) == [DayState.OPEN, DayState.CLOSED]


async def test_every_book_turns(desk):
    """Each at its own date, and days that somebody else cut are closed with them."""
    await desk.db.rows("INSERT INTO book (book_id, name) VALUES (2, 'other')")
    await next_day(desk)
    await desk.clock.advance(desk.db, timedelta(days=1))

    turned = await turn_days(desk)

    assert sorted(day.book_id for day in turned) == [1, 1, 2]
    assert await all_of(desk, "SELECT DISTINCT acct_date FROM book") == [
        (desk.clock.local().date(),)
    ]


async def test_two_replicas_turn_a_day_once(desk, dsn):
    """Both try at the same moment."""
    await open_all(desk)
    await booked(desk, posting("COLLECTED"))
    await desk.clock.advance(desk.db, timedelta(days=1))
    async with Database(dsn) as db:
        twin = replace(desk, db=db, accounts=Accounts(db))
        await asyncio.gather(*(turn_days(one) for one in (desk, twin, desk, twin)))

    assert await states(desk) == [DayState.OPEN, DayState.CLOSED]
    assert await all_of(desk, "SELECT count(*) AS n FROM account_day") == [(4,)]


async def test_what_does_not_balance_is_said_and_holds_the_days_behind_it(desk, dsn):
    """Booking goes on; what was closed before stays."""
    await open_all(desk)
    await booked(desk, posting("COLLECTED"))
    over = await next_day(desk)
    await next_day(desk)
    with connect(dsn) as connection:
        connection.execute("ALTER TABLE transfer DISABLE TRIGGER append_only")
        connection.execute("UPDATE transfer SET amount = amount + 1 WHERE seq = 8193")

    [stuck] = await turn_days(desk)

    assert (stuck.acct_date, stuck.balance) == (over, None)
    assert "day unbalanced" in stuck.problem
    assert await states(desk) == [DayState.OPEN, DayState.CUT, DayState.CUT]
    assert await booked(desk, posting("COLLECTED")) == ["posted"]


async def test_the_log_tells_how_days_stood(desk):
    """The trial balance of each currency."""
    await open_all(desk)
    await booked(desk, posting("COLLECTED"))
    over = desk.clock.local().date()
    await desk.clock.advance(desk.db, timedelta(days=1))

    with capture_logs() as lines:
        work = asyncio.create_task(keep_days(desk))
        await eventually(lambda: [one for one in lines if one["event"] == "trial_balance"])
        work.cancel()

    [told] = [one for one in lines if one["event"] == "trial_balance"]
    assert (told["acct_date"], told["log_level"]) == (over.isoformat(), "info")
    assert (told["balanced"], told["debit_minor"], told["credit_minor"]) == (True, 10_038, 10_038)


async def closed_days(operator):
    answer = await operator.ListDays(pb.ListDaysRequest())
    return [day for day in answer.days if day.state == pb.BookDay.STATE_CLOSED]


async def test_accountants_see_a_day_that_turned(ground):
    """From the calls of a day to its vouchers and its income, by the doors of the service."""
    async with ground.run("ledger") as ledger:
        stub, operator = Neighbours(ledger), AccountingServiceStub(ledger.operator())
        await open_accounts(stub, WALLET, CLEARING, PENDING)
        facts = {"merchant_id": "mer_1", "fee_minor": 60, "cost_minor": 38}
        collected = recharge(template="COLLECTED", amount=money("CNY", 10_000), **facts)
        request = ledger_service_pb2.BatchPostRequest(items=[item(recharge(5), collected)])
        await stub.BatchPost(request)
        [today] = (await operator.ListDays(pb.ListDaysRequest())).days
        assert (today.state, today.first_block) == (pb.BookDay.STATE_OPEN, 1)

        await ledger.shift("24 hours")
        await eventually(lambda: ledger.rows("SELECT 1 FROM book_day WHERE state = 'closed'"))

        [day] = await closed_days(operator)
        assert (day.acct_date, day.first_block) == (today.acct_date, 1)
        assert day.last_block >= 1
        assert from_timestamp(day.cut_time) <= from_timestamp(day.close_time)
        at = day.acct_date
        trial = await operator.GetDayTrialBalance(pb.GetDayTrialBalanceRequest(from_date=at))
        assert [(one.currency_code, one.balanced) for one in trial.totals] == [("CNY", True)]
        assert trial.totals[0].turnover.debit_minor == 10_043
        sheet = await operator.GetBalanceSheet(pb.GetBalanceSheetRequest(acct_date=at))
        assert (sheet.totals[0].assets_minor, sheet.totals[0].balanced) == (9_967, True)
        income = await operator.GetIncomeStatement(pb.GetIncomeStatementRequest(from_date=at))
        closed = await operator.CloseIncome(pb.CloseIncomeRequest(to_date=at))
        assert (closed.from_date, closed.to_date) == (at, at)
        assert [one.profit_minor for one in income.totals] == [22]
        assert list(closed.totals) == list(income.totals)
        vouchers = await operator.ListDayVouchers(
            pb.ListDayVouchersRequest(acct_date=at, page_size=1)
        )
        assert vouchers.vouchers[0].external_key == f"1-{at.replace('-', '')}-3-CNY"
        more = await operator.ListDayVouchers(
            pb.ListDayVouchersRequest(
                acct_date=at, page_size=1, page_token=vouchers.next_page_token
            )
        )
        assert [one.template for one in more.vouchers] == ["RECHARGED"]
        subjects = (await operator.ListSubjects(pb.ListSubjectsRequest())).subjects
        [wallets] = [one for one in subjects if "WALLET" in one.kinds]
        assert (wallets.gl_code, wallets.name_zh) == ("2241.01", "用户钱包余额")
        side, kind = wallets.normal_side, getattr(wallets, "class")
        assert (side, kind) == (pb.NORMAL_SIDE_CREDIT, pb.SUBJECT_CLASS_LIABILITY)


async def test_operators_cut_and_close_by_hand(ground):
    """This evening already, and not further than to tomorrow; dates are of the calendar."""
    async with ground.run("ledger") as ledger:
        operator = AccountingServiceStub(ledger.operator())
        [today] = (await operator.ListDays(pb.ListDaysRequest())).days
        date = ledger.runtime.clock.local().date()
        tomorrow, later = (date + timedelta(days=n) for n in (1, 2))

        cut = await operator.CutDay(pb.CutDayRequest(to_date=tomorrow.isoformat()))
        closed = await operator.CloseDay(pb.CloseDayRequest(acct_date=today.acct_date))

        assert (cut.day.acct_date, cut.day.state) == (tomorrow.isoformat(), pb.BookDay.STATE_OPEN)
        assert closed.day.state == pb.BookDay.STATE_CLOSED
        wrong = [
            (operator.CutDay(pb.CutDayRequest(to_date=later.isoformat())), "CUT_DATE_REFUSED"),
            (operator.CutDay(pb.CutDayRequest(to_date="2026-02-30")), "INVALID_FIELDS"),
            (operator.CutDay(pb.CutDayRequest(to_date="tomorrow")), "INVALID_FIELDS"),
            (
                operator.CloseDay(pb.CloseDayRequest(acct_date=tomorrow.isoformat())),
                "DAY_NOT_CUT",
            ),
            (
                operator.GetIncomeStatement(
                    pb.GetIncomeStatementRequest(from_date="2026-02-02", to_date="2026-02-01")
                ),
                "INVALID_FIELDS",
            ),
            (operator.ListDays(pb.ListDaysRequest(book_id=9)), "BOOK_NOT_FOUND"),
            (operator.ListDays(pb.ListDaysRequest(page_token="abc")), "PAGE_TOKEN_INVALID"),
        ]
        for call, reason in wrong:
            with pytest.raises(grpc.aio.AioRpcError) as failed:
                await call
            assert info_of(failed.value).reason == reason
