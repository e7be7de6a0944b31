"""A book with closed days of long ago and of late, that can be moved into files day by day."""

import uuid
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

from ledger.flow.close_day import close_day
from ledger.flow.cut_day import cut_day
from ledger.flow.get_balance_at import get_balance_at
from ledger.flow.keep_history import keep_history
from ledger.flow.list_holds import list_holds
from ledger.flow.list_statement import list_statement
from ledger.flow.list_trace_entries import list_trace_entries
from ledger.store.statement import Span
from mesh.numbers import Kind, Numbers
from tests.service.ledger.account_world import (
    BUSY,
    HIDDEN,
    IDLE,
    WALLETS,
    Writer,
    ids_of,
    named,
    page_of,
    replayed,
)
from tests.service.ledger.account_world import pages as pages_of
from tests.service.ledger.books import BOOK
from tests.service.ledger.days import closed_day
from tests.service.ledger.events import booked, open_all, posting

AGE = timedelta(days=130)  # Of the days that go into files.
DAYS = 5
TRACES = [f"MALL-{n}" for n in range(4)]


class LateWriter(Writer):
    """A writer whose ids are as late as the business time of its desk."""

    later = timedelta()

    def transfer(self):
        made = super().transfer()
        ms = int(self.later.total_seconds() * 1000)
        late = made.but(id=uuid.UUID(int=made.id.int + (ms << 80)))
        for known in (self.holds, self.moves):
            if known and known[-1] is made:
                known[-1] = late
        return late


@dataclass
class Past:
    """The desk, and the accounts with what is to be asked of them."""

    desk: object
    writer: LateWriter
    numbers: Numbers
    old: list = field(default_factory=list)  # Accounting dates, as they were closed.
    new: list = field(default_factory=list)

    async def write(self):
        """Post on a day: by number and by template, vouchers of all traces."""
        for nth in range(4):
            self.writer.call(30)
            template = ["COLLECTED", "RECHARGED"][nth % 2]
            numbers = [self.numbers.next(Kind.PAYMENT) for _ in range(2)]
            events = [
                posting(template, source_no=numbers[0], trace_no=TRACES[nth % 3]),
                posting("COLLECTED", source_no=numbers[1]),
            ]
            assert set(await booked(self.desk, *events)) == {"posted"}

    async def move(self):
        """Move a day into files; return its date, None when there is none to move."""
        day = await keep_history(self.desk)
        return day and day.acct_date

    async def drop(self):
        """Drop the oldest partitions that have rows and may go."""
        db, dropped = self.desk.db, False
        while True:
            [[oldest]] = await db.rows("SELECT oldest_week()")
            [[today]] = await db.rows("SELECT (business_now() AT TIME ZONE 'UTC')::date")
            if oldest + timedelta(days=7) > today - timedelta(days=36):
                return dropped
            [[problem]] = await db.rows("SELECT drop_week(%(oldest)s)", oldest=oldest)
            assert problem is None
            dropped = True


async def build(desk, connection, seed):
    """Return the book: old closed days, new closed days, and one that is open."""
    ids = await ids_of(desk, BUSY, *WALLETS)
    await open_all(desk)
    past = Past(desk, LateWriter(connection, ids, seed), Numbers(desk.clock, node=1, lease=1))
    for _ in range(DAYS):
        await past.write()
        past.old.append(await closed_day(desk))
    empty = desk.clock.local().date()
    await desk.clock.advance(desk.db, AGE)
    await cut_day(desk, book_id=BOOK, to=desk.clock.local().date())
    await close_day(desk, book_id=BOOK, acct_date=empty)
    await desk.db.rows("SELECT make_week_partitions(5)")
    past.writer.later = AGE + timedelta(days=DAYS)
    for _ in range(2):
        await past.write()
        past.new.append(await closed_day(desk))
    await past.write()
    return past


class Between:
    """The database of a desk; behind the first statement with `text` something happens."""

    def __init__(self, db, text, happens):
        self._db, self._text, self._happens = db, text, happens

    async def rows(self, sql, **params):
        found = await self._db.rows(sql, **params)
        if self._text in sql and self._happens is not None:
            happens, self._happens = self._happens, None
            await happens()
        return found


async def pages(desk, account, size, *, between=None, **asked):
    """Return the pages of a statement but for an empty last one; `between` happens in between."""
    verb = partial(list_statement, desk, named(account), **({"span": Span()} | asked))
    listed, token = [], ""
    while True:
        lines, token = await verb(page=page_of(size, token))
        listed.append(lines)
        if not token:
            return listed if lines else listed[:-1]
        if between is not None:
            await between()


async def traces(desk):
    """Return what is told of every trace."""
    told = [await list_trace_entries(desk, app_id="mall", trace_no=one) for one in TRACES]
    assert [bool(one) for one in told] == [True, True, True, False]
    return told


async def holds(desk):
    """Return what is or was on hold on every account, page by page."""
    told = []
    for account in (BUSY, WALLETS[0], IDLE):
        verb = partial(list_holds, desk, named(account), states=[])
        told.append(await pages_of(lambda page, verb=verb: verb(page=page), 50))
    assert all(told)
    return told


ASKED = {BUSY: -1, WALLETS[0]: 1, IDLE: 1}  # Accounts whose balances are asked for, their sides.


async def balances(desk, moments, dates):
    """Return balance and entry of the accounts as of each time and at the end of each date."""
    told = []
    for account in ASKED:
        for asked in [{"time": one} for one in moments] + [{"acct_date": one} for one in dates]:
            _, found = await get_balance_at(desk, named(account), **asked)
            told.append((account.name, *asked.values(), found.posted_minor, found.seq))
    return told


async def balances_replayed(past, moments, dates):
    """Return the same as a replay of the journal says, while it is in the database."""
    told = []
    for account, normal in ASKED.items():
        [account_id] = await ids_of(past.desk, account)
        rows = replayed(past.writer.connection, account_id, normal)
        moves = [row for row in rows if not row.flags & HIDDEN]
        for key, ends in (("create_time", moments), ("acct_date", dates)):
            for end in ends:
                before = [row for row in moves if getattr(row, key) <= end]
                last = (before[-1].balance, before[-1].seq) if before else (0, 0)
                told.append((account.name, end, *last))
    return told
