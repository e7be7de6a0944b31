"""A file of an old day that is gone: events wait for it, callers and operators are told."""

import asyncio
import json
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from ledger.flow.keep_history import keep_history
from ledger.history.files import file_of, folder_of
from ledger.history.read import History
from mesh.config import load, services
from mesh.doctor import Verdict, examine
from tests.service.ledger.books import BOOK
from tests.service.ledger.events import payment
from tests.service.ledger.history import old_days
from tests.service.ledger.test_account_doors import NAME, furnished, said_to_run, tongbao
from tests.service.ledger.test_service import PENDING, Neighbours, balances, item, open_accounts
from tests.service.ledger.test_service import recharge as asked
from tests.waiting import eventually
from tongbao.ledger.v1 import ledger_service_pb2 as pb
from tongbao.payment.v1 import events_pb2 as payment_events


async def test_an_event_waits_for_a_file_that_is_gone(ground, monkeypatch):
    """Also longer than one that breaks its handler may: it is booked when the file is back.
    Whoever calls is refused, and told which file it is."""
    monkeypatch.setattr("ledger.workers.HISTORY_SECONDS", 0.05)
    monkeypatch.setattr("mesh.inbox._NAK_SECONDS", 0.05)
    async with ground.run("ledger") as ledger:
        await furnished(ledger)
        stub = Neighbours(ledger)
        await open_accounts(stub, PENDING)
        paid, other = payment(), asked()
        await ledger.shift("100 days")
        await eventually(lambda: ledger.rows("SELECT 1 FROM history_day"))
        await eventually(lambda: not ledger.rows("SELECT 1 FROM transfer LIMIT 1"))
        [path] = (ground.home / "ledger" / "history").glob("book-1/*/transfer.parquet")
        copy = path.rename(path.with_suffix(".copy"))

        with capture_logs() as lines:
            batch = await ground.tell("payment", payment_events.PaymentSucceeded(payment=paid))
            await eventually(lambda: [one["event"] for one in lines].count("event_not_applied") > 5)
        answer = await stub.BatchPost(pb.BatchPostRequest(items=[item(other)]))
        with said_to_run(ledger):
            done = await asyncio.to_thread(tongbao, "statement", NAME, home=ground.home)
        assert ledger.dead_letters() == []
        assert await balances(stub, PENDING) == [0]
        assert [one.status.reason for one in answer.results] == ["HISTORY_MISSING"]
        assert done.returncode == 1
        assert "Put the file back from its copy, into ledger/history of the home" in done.stderr

        copy.rename(path)
        await ledger.applied(batch)
        assert await balances(stub, PENDING) == [9_940]
        assert ledger.dead_letters() == []


@pytest.fixture
def installed(fresh_home, dsn, postgres):
    """The settings of a home in which services have run, on the database of the ledger."""
    run = fresh_home / "run"
    run.mkdir(mode=0o700)
    for service in services():
        (run / f"{service}.json").write_text(json.dumps({"database_dsn": dsn}))
    return load(home=fresh_home, postgres_dsn=postgres.admin_dsn)


async def test_the_doctor_names_files_that_are_not_whole(desk, installed):
    """Of every day that is in files: gone, or of another length than what was written."""
    desk = replace(desk, history=History(folder_of(installed.home)))

    async def said():
        [one] = [one async for one in examine(installed) if one.check == "history"]
        return one

    assert (await said()).seen == "ledger: 0 days in files, all of them are there"
    first, second = await old_days(desk)
    while await keep_history(desk):
        pass
    well = await said()
    assert well.verdict is Verdict.PASS
    assert well.seen == "ledger: 2 days in files, all of them are there"

    gone, short = (
        file_of(desk.history.folder, book_id=BOOK, acct_date=day, table=table)
        for day, table in ((first, "voucher"), (second, "transfer"))
    )
    gone.unlink()
    bad = await said()
    assert bad.verdict is Verdict.FAIL
    assert bad.seen == f"ledger: book-1/{first}/voucher.parquet: No such file or directory"
    assert "estore it from its copy" in bad.next_step

    size = short.stat().st_size
    short.write_bytes(short.read_bytes()[:-1])
    bad = await said()
    assert f"book-1/{second}/transfer.parquet has {size - 1} bytes, {size} were written" in bad.seen
    assert f"{first}/voucher" in bad.seen
