"""What was said before days went into files is said afterwards, page by page, without a seam."""

import asyncio
import random
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from google.rpc import code_pb2

from ledger.flow.get_balance_at import get_balance_at
from ledger.flow.list_statement import list_statement
from ledger.flow.list_trace_entries import list_trace_entries
from ledger.flow.lookup_transfers import lookup_transfers
from ledger.history.files import check, file_of
from ledger.history.read import History
from ledger.service import LedgerService
from ledger.store import filed
from ledger.store.statement import Span
from mesh.batch import NotExecuted
from mesh.clock import to_timestamp
from mesh.context import act_within
from mesh.errors import Refused
from tests.service.ledger import past as world
from tests.service.ledger.account_world import BUSY, IDLE, WALLETS, named, page_of
from tests.service.ledger.books import BOOK, connect, uuid7
from tests.service.ledger.events import PENDING as MERCHANT
from tongbao.common.v1 import item_pb2
from tongbao.ledger.v1 import ledger_service_pb2 as pb

MICROSECOND = timedelta(microseconds=1)
YEAR = timedelta(days=366)

# Something in C never lets go of the history, so it still exists when Python ends.
LEAVES = """
import asyncio, ctypes, datetime, sys, threading, uuid
from pathlib import Path
from ledger.history.read import FiledDay, History
history, day = History(Path(sys.argv[1])), eval(sys.argv[2])
ctypes.pythonapi.Py_IncRef(ctypes.py_object(history))
async def use():
    found = await history.find(days=[day], ids=[uuid.uuid4()])
    await history.close()
    print(found, [one for one in threading.enumerate() if one.name.startswith("history")])
asyncio.run(use())
"""


@pytest.fixture
async def past(desk, dsn):
    """A book with five closed days of long ago, two of late, and one that is open."""
    with connect(dsn) as connection:
        yield await world.build(desk, connection, seed=7)


async def blocks_of(past):
    sql = "SELECT block_no, acct_date, create_time FROM block ORDER BY block_no"
    return await past.desk.db.rows(sql)


async def journal_rows(past, acct_date):
    """How many transfers of a date are in the database."""
    sql = """
        SELECT count(*) AS rows FROM transfer t
        JOIN block b ON (b.book_id, b.block_no) = (t.book_id, t.seq / 8192)
        WHERE b.acct_date = %(acct_date)s
    """
    [row] = await past.desk.db.rows(sql, acct_date=acct_date)
    return row.rows


async def spans(past):
    """Spans that end before the border, behind it, on both sides of it, and everything."""
    blocks, dice = await blocks_of(past), random.Random(1)
    old = [one for one in blocks if one.acct_date in past.old]
    new = [one for one in blocks if one.acct_date not in past.old]
    found = [Span(), Span(to_date=past.old[1]), Span(from_date=past.new[0])]
    found.append(Span(from_date=past.old[2], to_date=past.old[2]))
    found.append(Span(from_date=past.old[3], to_date=past.new[0]))
    for one, other in ((old, old), (old, new), (new, new)):
        since, until = sorted([dice.choice(one).create_time, dice.choice(other).create_time])
        found += [Span(since=since, until=until), Span(since=since), Span(until=until)]
    return found


async def statements(past):
    """Every statement that is asked for, as its pages."""
    told = {}
    for nth, span in enumerate(await spans(past)):
        for place, account in enumerate((BUSY, WALLETS[0], IDLE, MERCHANT)):
            for oldest_first in (True, False):
                told[account.name, nth, oldest_first] = await world.pages(
                    past.desk,
                    account,
                    200 if account is BUSY else [7, 50, 23][nth % 3],
                    span=span,
                    oldest_first=oldest_first,
                    include_holds=(nth + place) % 2 == 0,
                )
    return told


async def times(past):
    """Fifty times and dates: at bookings and beside them, at the ends of days and beyond."""
    blocks, dice = await blocks_of(past), random.Random(2)
    moments = [
        dice.choice(blocks).create_time + dice.choice([-1, 0, 1]) * MICROSECOND for _ in range(38)
    ]
    day = timedelta(days=1)
    ends = [past.old[0], past.old[-1], past.new[-1]]
    dates = {one + step * day for one in ends for step in (-1, 0, 1, 9)}
    return moments, sorted(dates)


async def asked(past):
    """Everything that looks back: statements, traces, holds, balances at fifty times and dates."""
    return {
        "statements": await statements(past),
        "traces": await world.traces(past.desk),
        "holds": await world.holds(past.desk),
        "balances": await world.balances(past.desk, *await times(past)),
    }


async def test_nothing_that_looks_back_changes(past):
    """With three days in files that are still in the database too, with all, with them gone."""
    before = await asked(past)
    assert sum(map(len, before["statements"].values())) > 150
    assert before["balances"] == await world.balances_replayed(past, *await times(past))

    for day in past.old[:3]:
        assert await past.move() == day
    assert await asked(past) == before

    for day in past.old[3:]:
        assert await past.move() == day
    assert await past.move() is None
    assert await past.drop()
    assert [await journal_rows(past, day) for day in past.old] == [0] * len(past.old)
    assert await asked(past) == before


@pytest.mark.parametrize("oldest_first", [True, False])
@pytest.mark.parametrize("include_holds", [True, False])
async def test_days_that_go_between_two_pages_are_not_missed(past, oldest_first, include_holds):
    """No entry twice and none left out, while all the old days go away page by page."""
    wish = {"oldest_first": oldest_first, "include_holds": include_holds}
    before = {}
    for account in (BUSY, WALLETS[0]):
        whole = await world.pages(past.desk, account, 23, **wish)
        before[account.name] = [line for page in whole for line in page]
    gone = []

    async def go():
        gone.append(await past.move() or await past.drop())

    after = {}
    for account in (BUSY, WALLETS[0]):
        whole = await world.pages(past.desk, account, 23, between=go, **wish)
        after[account.name] = [line for page in whole for line in page]

    assert gone[: len(past.old) + 1] == [*past.old, True]
    assert after == before


@pytest.mark.parametrize("look", ["newest", "oldest", "balance", "trace"])
async def test_days_that_go_while_somebody_looks_are_not_missed(past, look):
    """Between the statements that one look needs."""
    desk = past.desk
    span = Span(to_date=past.old[2])
    last = max(one.create_time for one in await blocks_of(past) if one.acct_date == past.old[2])
    ask, text = {
        "newest": (
            lambda desk: list_statement(desk, named(BUSY), span=span, page=page_of(50)),
            "statement_page",
        ),
        "oldest": (
            lambda desk: list_statement(
                desk, named(BUSY), span=span, page=page_of(50), oldest_first=True
            ),
            "statement_page",
        ),
        "balance": (
            lambda desk: get_balance_at(desk, named(BUSY), time=last - MICROSECOND),
            "balance_at",
        ),
        "trace": (
            lambda desk: list_trace_entries(desk, app_id="mall", trace_no="MALL-0"),
            "history_block",
        ),
    }[look]
    before = await ask(desk)

    async def go():
        while await past.move():
            pass
        assert await past.drop()

    between = world.Between(desk.db, text, go)
    assert await ask(replace(desk, db=between)) == before
    assert [await journal_rows(past, day) for day in past.old] == [0] * len(past.old)


async def test_a_file_that_is_missing_or_changed_is_told_of(past):
    """Which one, by everything that needs it; what does not need it goes on."""
    while await past.move():
        pass
    await past.drop()
    desk, day = past.desk, past.old[1]
    span = Span(from_date=day, to_date=day)
    last = max(one.create_time for one in await blocks_of(past) if one.acct_date == day)
    before = await list_statement(desk, named(BUSY), span=span, page=page_of(9))

    for table, verbs in {
        "transfer": [
            lambda: list_statement(desk, named(BUSY), span=span, page=page_of(9)),
            lambda: list_statement(
                desk, named(BUSY), span=span, page=page_of(9), oldest_first=True
            ),
            lambda: get_balance_at(desk, named(BUSY), time=last - MICROSECOND),
            lambda: lookup_transfers(desk, "MALL", [uuid7().bytes]),
        ],
        "voucher": [lambda: list_trace_entries(desk, app_id="mall", trace_no="MALL-0")],
    }.items():
        file = file_of(desk.history.folder, book_id=BOOK, acct_date=day, table=table)
        whole = file.read_bytes()
        told = rf"history missing: file=book-{BOOK}/{day}/{table}.parquet, problem="
        file.unlink()
        for verb in verbs:
            with pytest.raises(Refused, match=told + "No such file") as refused:
                await verb()
            assert refused.value.code == code_pb2.FAILED_PRECONDITION
        file.write_bytes(whole[:200] + bytes([whole[200] ^ 1]) + whole[201:])
        for verb in verbs:
            with pytest.raises(Refused, match=told + "its SHA-256 is"):
                await verb()
        other = Span(from_date=past.old[2], to_date=past.old[2])
        assert (await list_statement(desk, named(BUSY), span=other, page=page_of(9)))[0]
        assert (await get_balance_at(desk, named(BUSY), acct_date=day))[1].posted_minor
        file.write_bytes(whole)

    assert await list_statement(desk, named(BUSY), span=span, page=page_of(9)) == before


async def test_an_id_too_old_for_the_database_is_looked_for_in_the_files(past):
    """What was posted is told as it was; what was not, as never posted; what failed, by what."""
    desk = past.desk
    sql = "SELECT id FROM transfer ORDER BY seq"
    ids = [row.id.bytes for row in await desk.db.rows(sql)]
    failed = uuid7()
    await desk.db.rows("INSERT INTO reject (id, book_id, result) VALUES (%(id)s, 1, 40)", id=failed)
    never = uuid7()
    asked_for = [*ids, failed.bytes, never.bytes, ids[0]]
    before = await lookup_transfers(desk, "MALL", asked_for)
    assert [one.entry is not None for one in before] == [True] * len(ids) + [False, False, True]
    assert before[-3].failure == 40

    while await past.move():
        pass
    assert await past.drop()

    after = await lookup_transfers(desk, "MALL", asked_for)
    assert after[-2].may_be_filed  # It is too old for the database, and in no file.
    assert [(one.entry, one.acct_date, one.create_time, one.failure) for one in after] == [
        (one.entry, one.acct_date, one.create_time, one.failure) for one in before
    ]


async def test_a_trace_opens_no_file_of_a_day_before_it_began(past):
    """With a day for clocks; of a young trace no file at all."""
    while await past.move():
        pass
    assert await past.drop()
    doors, blocks = LedgerService(past.desk), await blocks_of(past)
    owner = item_pb2.ItemContext(app_id="mall", trace_no="MALL-0")

    async def trace(first):
        """What is told of the trace when it began with the first booking of a date."""
        since = min(one.create_time for one in blocks if one.acct_date == first)
        request = pb.ListTraceEntriesRequest(context=owner, since=to_timestamp(since))
        entries = (await doors.ListTraceEntries(request, None)).entries
        return [one for one in entries if one.create_time.ToNanoseconds() >= at(since)]

    def at(time):
        return to_timestamp(time).ToNanoseconds()

    whole = (await doors.ListTraceEntries(pb.ListTraceEntriesRequest(context=owner), None)).entries
    began = min(one.create_time for one in blocks if one.acct_date == past.old[3])
    behind = [one for one in whole if one.create_time.ToNanoseconds() >= at(began)]
    young = await trace(past.new[0])
    assert 0 < len(young) < len(behind) < len(whole)

    files = [
        file_of(past.desk.history.folder, book_id=BOOK, acct_date=day, table="voucher")
        for day in past.old
    ]
    files[0].unlink()
    assert await trace(past.old[3]) == behind
    with pytest.raises(Refused, match="history missing"):
        await doors.ListTraceEntries(pb.ListTraceEntriesRequest(context=owner), None)
    for file in files[1:]:
        file.unlink()
    assert await trace(past.new[0]) == young
    with pytest.raises(Refused, match="history missing"):
        await trace(past.old[3])


async def test_a_page_over_the_border_shows_what_the_database_has(past):
    """With the files away the newest first are told up to there, and only then it is refused."""
    while await past.move():
        pass
    assert await past.drop()
    [whole] = await world.pages(past.desk, WALLETS[0], 200)
    files = list(past.desk.history.folder.rglob("transfer.parquet"))
    for file in files:
        file.rename(file.with_suffix(".away"))

    stored, token = await list_statement(
        past.desk, named(WALLETS[0]), span=Span(), page=page_of(200)
    )
    assert stored == [one for one in whole if one.acct_date not in past.old]
    assert 0 < len(stored) < len(whole)
    with pytest.raises(Refused, match="history missing"):
        await list_statement(past.desk, named(WALLETS[0]), span=Span(), page=page_of(200, token))

    for file in files:
        file.with_suffix(".away").rename(file)
    filed_lines, token = await list_statement(
        past.desk, named(WALLETS[0]), span=Span(), page=page_of(200, token)
    )
    assert ([*stored, *filed_lines], token) == (whole, "")


async def test_one_caller_reads_a_file_through_while_the_others_wait(past, monkeypatch):
    """In a thread of the history's own; it is the first time that this file is needed."""
    await past.move()
    [day] = await filed.days_since(past.desk.db, book_id=BOOK, moment=past.desk.clock.now() - YEAR)
    threads, other = [], threading.Event()

    def spied(path, *, sha256):
        threads.append(threading.current_thread().name)
        if len(threads) > 1:
            other.set()
        other.wait(0.3)  # Long enough for a second one, if there is any.
        check(path, sha256=sha256)

    monkeypatch.setattr("ledger.history.read.check", spied)
    looks = [past.desk.history.find(days=[day], ids=[uuid7()]) for _ in range(10)]
    assert await asyncio.gather(*looks) == [[]] * 10
    [thread] = threads
    assert thread.startswith("history")


async def test_a_history_that_is_closed_leaves_nothing(past):
    """No thread, and no object of the library: the log of a service that leaves is short."""
    await past.move()
    [day] = await filed.days_since(past.desk.db, book_id=BOOK, moment=past.desk.clock.now() - YEAR)
    script = [sys.executable, "-c", LEAVES, str(past.desk.history.folder), repr(day)]
    left = subprocess.run(script, capture_output=True, text=True, timeout=60, check=True)
    assert (left.stdout, left.stderr) == ("[] []\n", "")


async def test_who_looks_for_unknown_ids_stops_at_the_deadline(past):
    """Every day since may have them, and nobody waits for the answer any more."""
    while await past.move():
        pass
    assert await past.drop()

    class Slow(History):
        """After its first look the deadline has come."""

        looks = 0

        async def find(self, **asked):
            self.looks += 1
            found = await super().find(**asked)
            act_within(0)
            return found

    history = Slow(past.desk.history.folder)
    with pytest.raises(NotExecuted, match="4 of 5 days were looked at"):
        await lookup_transfers(replace(past.desk, history=history), "MALL", [uuid7().bytes])
    assert history.looks == 1
    await history.close()
