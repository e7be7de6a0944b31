"""Old days leave a running ledger by themselves; operators see where they are."""

import asyncio
import hashlib
import json
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from ledger.workers import keep_old_days
from tests.service.ledger.days import all_of
from tests.service.ledger.history import old_days
from tests.service.ledger.test_account_doors import furnished, said_to_run, tongbao
from tests.services import info_of
from tests.waiting import eventually
from tongbao.ledger.v1 import accounting_service_pb2 as pb
from tongbao.ledger.v1.accounting_service_pb2_grpc import AccountingServiceStub


async def test_a_day_that_grows_old_is_seen_in_its_files(ground, monkeypatch):
    """Its entries by number, its files by name and digest; on the command line and by the door."""
    monkeypatch.setattr("ledger.workers.HISTORY_SECONDS", 0.05)
    async with ground.run("ledger") as ledger:
        await furnished(ledger)
        operator = AccountingServiceStub(ledger.operator())
        [today] = (await operator.ListDays(pb.ListDaysRequest())).days
        assert not (await operator.ListHistoryDays(pb.ListHistoryDaysRequest())).days
        with said_to_run(ledger):
            done = await asyncio.to_thread(tongbao, "history", home=ground.home)
            assert "no days are in files yet" in done.stdout

            await ledger.shift("100 days")
            await eventually(lambda: ledger.rows("SELECT 1 FROM history_day"))
            await eventually(lambda: not ledger.rows("SELECT 1 FROM transfer LIMIT 1"))

            done = await asyncio.to_thread(tongbao, "history", "--json", home=ground.home)
            table = await asyncio.to_thread(tongbao, "history", home=ground.home)
        [told] = json.loads(done.stdout)["days"]
        [day] = (await operator.ListHistoryDays(pb.ListHistoryDaysRequest())).days
        for name in ("transfer", "voucher"):
            read = (Path(ground.home) / told[f"{name}File"]).read_bytes()
            assert hashlib.sha256(read).hexdigest() == told[f"{name}Sha256"]
            assert not Path(told[f"{name}File"]).is_absolute()
        assert told["acctDate"] == day.acct_date == today.acct_date
        assert day.acct_date in table.stdout
        folder = Path(ground.home) / "ledger" / "history" / "book-1" / day.acct_date
        files = [folder / "transfer.parquet", folder / "voucher.parquet"]
        assert day.size_bytes == sum(file.stat().st_size for file in files)
        assert (day.first_block, day.transfers, day.vouchers) == (1, 3, 3)
        assert (len(day.transfer_sha256), len(day.voucher_sha256)) == (32, 32)


_THREE_DAYS = (
    "UPDATE book_day SET state = 'cut', last_block = 0, cut_time = now()",
    """
    INSERT INTO book_day (book_id, acct_date, first_block, last_block, state, cut_time, close_time)
    SELECT 1, date '2026-01-01' + n, n + 1, n + 1, 'closed', now(), now()
    FROM generate_series(0, 2) n
    """,
    """
    INSERT INTO history_day (book_id, acct_date, first_block, last_block, transfers, vouchers,
                             transfer_bytes, voucher_bytes, transfer_sha256, voucher_sha256)
    SELECT 1, date '2026-01-01' + n, n + 1, n + 1, 5, 4, 30, 12, sha256('t'), sha256('v')
    FROM generate_series(0, 2) n
    """,
)


async def test_days_in_files_are_listed_page_by_page(ground):
    """The newest first; a book that is not there, and a token that is none, are refused."""
    async with ground.run("ledger") as ledger:
        operator = AccountingServiceStub(ledger.operator())
        for sql in _THREE_DAYS:
            ledger.rows(sql)
        first = await operator.ListHistoryDays(pb.ListHistoryDaysRequest(page_size=2))
        rest = await operator.ListHistoryDays(
            pb.ListHistoryDaysRequest(page_size=2, page_token=first.next_page_token)
        )
        assert [one.acct_date for one in first.days] == ["2026-01-03", "2026-01-02"]
        assert [(one.acct_date, one.size_bytes) for one in rest.days] == [("2026-01-01", 42)]
        assert not rest.next_page_token
        wrong = [
            (pb.ListHistoryDaysRequest(book_id=9), "BOOK_NOT_FOUND"),
            (pb.ListHistoryDaysRequest(page_token="abc"), "PAGE_TOKEN_INVALID"),
        ]
        for request, reason in wrong:
            with pytest.raises(grpc.aio.AioRpcError) as failed:
                await operator.ListHistoryDays(request)
            assert info_of(failed.value).reason == reason


def overdue():
    """What the metric says of the first book."""
    labels = {"book": "1"}
    return REGISTRY.get_sample_value("tongbao_ledger_history_overdue_seconds", labels)


async def test_the_log_tells_what_was_written_and_dropped(desk):
    """And what is wrong: then nothing leaves the database."""
    [day] = await old_days(desk, count=1)
    with capture_logs() as lines:
        work = asyncio.create_task(keep_old_days(desk))
        await eventually(lambda: [one["event"] for one in lines].count("partition_dropped") > 7)
        work.cancel()
    [written] = [one for one in lines if one["event"] == "day_written"]
    assert (written["acct_date"], written["transfers"]) == (day.isoformat(), 6)
    assert await all_of(desk, "SELECT id FROM transfer") == []
    assert overdue() == 0


async def test_the_log_tells_what_keeps_a_day(desk):
    """As an error, with what to do."""
    [day] = await old_days(desk, count=1)
    await desk.db.rows("ALTER TABLE transfer DISABLE TRIGGER append_only")
    await desk.db.rows("DELETE FROM transfer WHERE seq = (SELECT max(seq) FROM transfer)")
    with capture_logs() as lines:
        work = asyncio.create_task(keep_old_days(desk))
        await eventually(lambda: [one for one in lines if one["event"] == "history_not_kept"])
        work.cancel()
    [told] = [one for one in lines if one["event"] == "history_not_kept"]
    assert told["log_level"] == "error"
    assert "tongbao ledger verify" in told["problem"]
    due = day + timedelta(days=desk.keep_entry_days)
    days, seconds = divmod(overdue(), 86_400)
    assert days == (desk.clock.local().date() - due).days > 30
    assert seconds > 0
    assert len(await all_of(desk, "SELECT id FROM transfer")) == 5
