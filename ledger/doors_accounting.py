"""The door of accountants 会计: subjects, accounting days, reports, vouchers."""

from __future__ import annotations

from datetime import date

from ledger.desk import Desk
from ledger.flow._subjects import IncomeTotal, ReportLine
from ledger.flow.close_day import close_day
from ledger.flow.close_income import close_income
from ledger.flow.cut_day import cut_day
from ledger.flow.get_balance_sheet import get_balance_sheet
from ledger.flow.get_clearing_ages import BUCKETS, ClearingAge, get_clearing_ages
from ledger.flow.get_day_trial_balance import Sides, get_day_trial_balance
from ledger.flow.get_income_statement import get_income_statement
from ledger.flow.list_day_vouchers import DayVoucher, list_day_vouchers
from ledger.flow.list_days import list_days
from ledger.flow.list_history_days import list_history_days
from ledger.flow.list_subjects import list_subjects
from ledger.flow.list_suspense import list_suspense
from ledger.model import AccountKind
from ledger.store.day import Day
from ledger.store.history import HistoryDay
from ledger.store.suspense import Item, ItemsWanted, ItemTotal
from ledger.wire import day_of
from mesh.clock import to_timestamp
from mesh.door import Context
from mesh.lists import Page
from mesh.wire import malformed
from tongbao.ledger.v1 import accounting_service_pb2 as pb
from tongbao.ledger.v1 import accounting_service_pb2_grpc as pb_grpc
from tongbao.ledger.v1 import ledger_pb2

_FIRST_BOOK = 1
_IN_DOUBT = (AccountKind.SUSPENSE, AccountKind.DUPLICATE)  # Unless others are asked for.


class AccountingService(pb_grpc.AccountingServiceServicer):
    """Each method is the verb of the same name in `ledger/flow/`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def ListSubjects(  # noqa: N802
        self, request: pb.ListSubjectsRequest, context: Context
    ) -> pb.ListSubjectsResponse:
        """Returns the chart of accounts; see the contract."""
        subjects, kinds = await list_subjects(self._desk)
        return pb.ListSubjectsResponse(
            subjects=[
                pb.Subject(
                    **{"class": pb.SubjectClass.Value(f"SUBJECT_CLASS_{subject.kind.name}")},
                    code=subject.code,
                    parent_code=subject.parent_code,
                    name=subject.name,
                    name_zh=subject.name_zh,
                    normal_side=(
                        pb.NORMAL_SIDE_CREDIT if subject.normal > 0 else pb.NORMAL_SIDE_DEBIT
                    ),
                    gl_code=subject.gl_code,
                    kinds=[kind.name for kind, code in kinds.items() if code == subject.code],
                )
                for subject in subjects
            ]
        )

    async def CutDay(  # noqa: N802
        self, request: pb.CutDayRequest, context: Context
    ) -> pb.CutDayResponse:
        """Cuts the accounting day; see the contract."""
        to = day_of(request.to_date, "to_date")
        day = await cut_day(self._desk, book_id=_book(request), to=to)
        return pb.CutDayResponse(day=_day(day))

    async def CloseDay(  # noqa: N802
        self, request: pb.CloseDayRequest, context: Context
    ) -> pb.CloseDayResponse:
        """Closes a day that was cut; see the contract."""
        acct_date = day_of(request.acct_date, "acct_date")
        day = await close_day(self._desk, book_id=_book(request), acct_date=acct_date)
        return pb.CloseDayResponse(day=_day(day))

    async def ListDays(  # noqa: N802
        self, request: pb.ListDaysRequest, context: Context
    ) -> pb.ListDaysResponse:
        """Returns the days of a book; see the contract."""
        days, token = await list_days(self._desk, book_id=_book(request), page=Page.of(request))
        return pb.ListDaysResponse(days=[_day(day) for day in days], next_page_token=token)

    async def ListHistoryDays(  # noqa: N802
        self, request: pb.ListHistoryDaysRequest, context: Context
    ) -> pb.ListHistoryDaysResponse:
        """Returns the days of a book that are in files; see the contract."""
        days, token = await list_history_days(
            self._desk, book_id=_book(request), page=Page.of(request)
        )
        return pb.ListHistoryDaysResponse(
            days=[_history_day(day) for day in days], next_page_token=token
        )

    async def GetDayTrialBalance(  # noqa: N802
        self, request: pb.GetDayTrialBalanceRequest, context: Context
    ) -> pb.GetDayTrialBalanceResponse:
        """Returns the trial balance of closed days; see the contract."""
        first, last = _dates(request)
        found = await get_day_trial_balance(
            self._desk, book_id=_book(request), first=first, last=last
        )
        return pb.GetDayTrialBalanceResponse(
            lines=[
                pb.DayTrialBalanceLine(
                    subject_code=line.subject_code,
                    currency_code=line.currency_code,
                    opening=_sides(line.opening),
                    turnover=_sides(line.turnover),
                    closing=_sides(line.closing),
                )
                for line in found.lines
            ],
            totals=[
                pb.DayTrialBalanceTotal(
                    currency_code=total.currency_code,
                    opening=_sides(total.opening),
                    turnover=_sides(total.turnover),
                    closing=_sides(total.closing),
                    balanced=total.balanced,
                )
                for total in found.totals
            ],
        )

    async def GetBalanceSheet(  # noqa: N802
        self, request: pb.GetBalanceSheetRequest, context: Context
    ) -> pb.GetBalanceSheetResponse:
        """Returns the balance sheet as of a closed day; see the contract."""
        acct_date = day_of(request.acct_date, "acct_date")
        found = await get_balance_sheet(self._desk, book_id=_book(request), acct_date=acct_date)
        return pb.GetBalanceSheetResponse(
            lines=[_line(line) for line in found.lines],
            totals=[
                pb.BalanceSheetTotal(
                    currency_code=total.currency_code,
                    assets_minor=total.assets_minor,
                    liabilities_minor=total.liabilities_minor,
                    equity_minor=total.equity_minor,
                    income_minor=total.income_minor,
                    balanced=total.balanced,
                )
                for total in found.totals
            ],
        )

    async def GetIncomeStatement(  # noqa: N802
        self, request: pb.GetIncomeStatementRequest, context: Context
    ) -> pb.GetIncomeStatementResponse:
        """Returns the income statement of closed days; see the contract."""
        first, last = _dates(request)
        found = await get_income_statement(
            self._desk, book_id=_book(request), first=first, last=last
        )
        return pb.GetIncomeStatementResponse(
            lines=[_line(line) for line in found.lines],
            totals=[_income(total) for total in found.totals],
        )

    async def CloseIncome(  # noqa: N802
        self, request: pb.CloseIncomeRequest, context: Context
    ) -> pb.CloseIncomeResponse:
        """Carries income and expenses of a period into profit; see the contract."""
        to = day_of(request.to_date, "to_date")
        period, totals = await close_income(self._desk, book_id=_book(request), to=to)
        return pb.CloseIncomeResponse(
            from_date=period.from_date.isoformat(),
            to_date=period.to_date.isoformat(),
            totals=[_income(total) for total in totals],
        )

    async def ListDayVouchers(  # noqa: N802
        self, request: pb.ListDayVouchersRequest, context: Context
    ) -> pb.ListDayVouchersResponse:
        """Returns the vouchers of a closed day; see the contract."""
        acct_date = day_of(request.acct_date, "acct_date")
        vouchers, token = await list_day_vouchers(
            self._desk, book_id=_book(request), acct_date=acct_date, page=Page.of(request)
        )
        return pb.ListDayVouchersResponse(
            vouchers=[_voucher(voucher) for voucher in vouchers], next_page_token=token
        )

    async def ListSuspense(  # noqa: N802
        self, request: pb.ListSuspenseRequest, context: Context
    ) -> pb.ListSuspenseResponse:
        """Returns money in doubt, item by item; see the contract."""
        wanted = ItemsWanted(
            kinds=[_kind(kind) for kind in request.kinds] or _IN_DOUBT,
            currency_code=request.currency_code,
            min_age_days=request.min_age_days,
            include_settled=request.include_settled,
        )
        items, totals, token = await list_suspense(
            self._desk, book_id=_book(request), wanted=wanted, page=Page.of(request)
        )
        return pb.ListSuspenseResponse(
            items=[_item(item) for item in items],
            totals=[_item_total(total) for total in totals],
            next_page_token=token,
        )

    async def GetClearingAges(  # noqa: N802
        self, request: pb.GetClearingAgesRequest, context: Context
    ) -> pb.GetClearingAgesResponse:
        """Returns clearing accounts by age; see the contract."""
        today, ages = await get_clearing_ages(self._desk, book_id=_book(request))
        return pb.GetClearingAgesResponse(
            acct_date=today.isoformat(), accounts=[_age(age) for age in ages]
        )


def _book(
    request: pb.CutDayRequest
    | pb.CloseDayRequest
    | pb.ListDaysRequest
    | pb.ListHistoryDaysRequest
    | pb.GetDayTrialBalanceRequest
    | pb.GetBalanceSheetRequest
    | pb.GetIncomeStatementRequest
    | pb.CloseIncomeRequest
    | pb.ListDayVouchersRequest
    | pb.ListSuspenseRequest
    | pb.GetClearingAgesRequest,
) -> int:
    return request.book_id or _FIRST_BOOK


def _dates(
    request: pb.GetDayTrialBalanceRequest | pb.GetIncomeStatementRequest,
) -> tuple[date, date]:
    """Return the span of a request. Raises Malformed when it ends before it begins."""
    first = day_of(request.from_date, "from_date")
    last = day_of(request.to_date, "to_date") if request.to_date else first
    if last < first:
        raise malformed("to_date", rule="span", description="must not be before from_date")
    return first, last


def _day(day: Day) -> pb.BookDay:
    message = pb.BookDay(
        book_id=day.book_id,
        acct_date=day.acct_date.isoformat(),
        state=pb.BookDay.State.Value(f"STATE_{day.state.name}"),
        first_block=day.first_block,
        last_block=day.last_block or 0,
    )
    if day.cut_time is not None:
        message.cut_time.CopyFrom(to_timestamp(day.cut_time))
    if day.close_time is not None:
        message.close_time.CopyFrom(to_timestamp(day.close_time))
    return message


def _history_day(day: HistoryDay) -> pb.HistoryDay:
    return pb.HistoryDay(
        book_id=day.book_id,
        acct_date=day.acct_date.isoformat(),
        first_block=day.first_block,
        last_block=day.last_block,
        transfers=day.transfers,
        vouchers=day.vouchers,
        size_bytes=day.transfer_bytes + day.voucher_bytes,
        transfer_sha256=bytes.fromhex(day.transfer_sha256),
        voucher_sha256=bytes.fromhex(day.voucher_sha256),
        write_time=to_timestamp(day.write_time),
    )


def _sides(sides: Sides) -> pb.Sides:
    return pb.Sides(debit_minor=sides.debit_minor, credit_minor=sides.credit_minor)


def _line(line: ReportLine) -> pb.ReportLine:
    return pb.ReportLine(
        subject_code=line.subject_code,
        currency_code=line.currency_code,
        amount_minor=line.amount_minor,
    )


def _income(total: IncomeTotal) -> pb.IncomeTotal:
    return pb.IncomeTotal(
        currency_code=total.currency_code,
        income_minor=total.income_minor,
        expenses_minor=total.expenses_minor,
        profit_minor=total.profit_minor,
    )


def _voucher(voucher: DayVoucher) -> pb.DayVoucher:
    return pb.DayVoucher(
        external_key=voucher.key,
        template_code=voucher.template_code,
        template=voucher.template,
        summary=voucher.summary,
        currency_code=voucher.currency_code,
        lines=[
            pb.DayVoucherLine(
                subject_code=line.subject_code,
                gl_code=line.gl_code,
                debit_minor=line.debit_minor,
                credit_minor=line.credit_minor,
            )
            for line in voucher.lines
        ],
    )


def _kind(kind: ledger_pb2.AccountKind.ValueType) -> AccountKind:
    return AccountKind[ledger_pb2.AccountKind.Name(kind).removeprefix("ACCOUNT_KIND_")]


def _kind_to_proto(kind: AccountKind) -> ledger_pb2.AccountKind.ValueType:
    return ledger_pb2.AccountKind.Value(f"ACCOUNT_KIND_{kind.name}")


def _item(item: Item) -> pb.SuspenseItem:
    return pb.SuspenseItem(
        kind=_kind_to_proto(item.kind),
        currency_code=item.currency_code,
        source_no=item.source_no,
        trace_no=item.trace_no,
        template=item.template,
        channel_code=item.channel_code,
        parked_minor=item.parked_minor,
        taken_minor=item.taken_minor,
        open_minor=item.open_minor,
        book_time=to_timestamp(item.book_time),
        acct_date=item.acct_date.isoformat(),
        age_days=item.age_days,
        releases=[
            pb.SuspenseRelease(
                template=one.template,
                source_no=one.source_no,
                amount_minor=one.amount_minor,
                book_time=to_timestamp(one.book_time),
            )
            for one in item.releases
        ],
    )


def _item_total(total: ItemTotal) -> pb.SuspenseTotal:
    return pb.SuspenseTotal(
        kind=_kind_to_proto(total.kind),
        currency_code=total.currency_code,
        balance_minor=total.balance_minor,
        open_minor=total.open_minor,
        unexplained_minor=total.unexplained_minor,
        open_items=total.open_items,
    )


def _age(age: ClearingAge) -> pb.ClearingAge:
    return pb.ClearingAge(
        channel_code=age.channel_code,
        currency_code=age.currency_code,
        balance_minor=age.balance_minor,
        oldest_date=age.oldest.isoformat() if age.oldest else "",
        buckets=[
            pb.AgeBucket(
                from_days=first, to_days=-1 if last is None else last, open_minor=open_minor
            )
            for (first, last), open_minor in zip(BUCKETS, age.open_minor, strict=True)
        ],
    )
