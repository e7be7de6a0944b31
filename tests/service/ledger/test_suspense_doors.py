"""Money in doubt and clearing by age, as operators meet them: sockets and the command line."""

import asyncio
import json

import grpc
import pytest

from ledger import workers
from tests.service.ledger.books import connect
from tests.service.ledger.test_account_doors import furnished, said_to_run, tongbao
from tests.service.ledger.test_service import CLEARING, WALLET, Neighbours, item, recharge
from tests.services import info_of
from tests.waiting import eventually
from tongbao.ledger.v1 import accounting_service_pb2 as pb
from tongbao.ledger.v1 import ledger_service_pb2 as ledger_pb
from tongbao.ledger.v1.accounting_service_pb2_grpc import AccountingServiceStub


async def in_doubt(ledger):
    """Two payments in suspense, of 30 and 20; 35 of them go back."""
    await furnished(ledger)
    templates = (("MISMATCH_SUSPENDED", 30), ("MISMATCH_SUSPENDED", 20))
    events = [recharge(minor, template=template) for template, minor in templates]
    events.append(recharge(35, template="SUSPENSE_RETURN_ASKED"))
    for event in events:
        answer = await Neighbours(ledger).BatchPost(ledger_pb.BatchPostRequest(items=[item(event)]))
        assert not answer.results[0].HasField("status")
    return [event.source_no for event in events]


async def test_operators_look_at_money_in_doubt(ground):
    async with ground.run("ledger") as ledger:
        first, second, back = await in_doubt(ledger)
        stub = AccountingServiceStub(ledger.operator())

        found = await stub.ListSuspense(pb.ListSuspenseRequest())
        [_, total] = found.totals  # Duplicates come first.
        assert (total.balance_minor, total.open_minor, total.unexplained_minor) == (15, 15, 0)
        [one] = found.items
        assert (one.source_no, one.parked_minor, one.open_minor) == (second, 20, 15)
        assert (one.channel_code, one.age_days, one.currency_code) == ("sim", 0, "CNY")
        assert [(by.template, by.source_no, by.amount_minor) for by in one.releases] == [
            ("SUSPENSE_RETURN_ASKED", back, 5)
        ]

        request, seen = pb.ListSuspenseRequest(include_settled=True, page_size=1), []
        while True:
            page = await stub.ListSuspense(request)
            seen += [one.source_no for one in page.items]
            request.page_token = page.next_page_token
            if not page.next_page_token:
                break
        assert seen == [first, second]
        request.page_token = (await stub.ListSuspense(request)).next_page_token
        request.currency_code = "USD"  # The token is of another list.
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await stub.ListSuspense(request)
        assert info_of(failed.value).reason == "PAGE_TOKEN_INVALID"
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await stub.ListSuspense(pb.ListSuspenseRequest(kinds=[WALLET.kind]))
        assert failed.value.code() == grpc.StatusCode.INVALID_ARGUMENT

        ages = await stub.GetClearingAges(pb.GetClearingAgesRequest())
        [wallets, clearing] = ages.accounts
        assert (wallets.channel_code, wallets.balance_minor) == ("balance", 0)
        assert wallets.oldest_date == ""
        assert (clearing.channel_code, clearing.balance_minor) == (CLEARING.owner, 18 + 50)
        assert clearing.oldest_date == ages.acct_date
        assert [bucket.open_minor for bucket in clearing.buckets] == [68, 0, 0, 0, 0, 0, 0]
        assert [(bucket.from_days, bucket.to_days) for bucket in clearing.buckets[4:]] == [
            (4, 7), (8, 30), (31, -1),
        ]  # fmt: skip
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await stub.GetClearingAges(pb.GetClearingAgesRequest(book_id=99))
        assert info_of(failed.value).reason == "BOOK_NOT_FOUND"


async def test_what_is_parked_is_read_before_anybody_looks(ground, monkeypatch):
    """So that whoever looks need not read all that was parked since somebody did."""
    monkeypatch.setattr(workers, "SUSPENSE_SECONDS", 0.02)
    async with ground.run("ledger") as ledger:
        await in_doubt(ledger)
        with connect(ledger.dsn) as connection:
            unread = "SELECT seq FROM suspense_read NATURAL JOIN account WHERE kind = 'suspense'"
            newest = "SELECT last_seq FROM balance NATURAL JOIN account WHERE kind = 'suspense'"
            await eventually(
                lambda: (
                    connection.execute(unread).fetchall() == connection.execute(newest).fetchall()
                )
            )


async def test_the_command_line_shows_money_in_doubt(ground):
    async with ground.run("ledger") as ledger:
        _, second, back = await in_doubt(ledger)

        async def run(*arguments):
            done = await asyncio.to_thread(tongbao, *arguments, home=ground.home)
            assert done.returncode == 0, done.stderr
            return done.stdout

        with said_to_run(ledger):
            text = await run("suspense")
            assert second in text
            assert "0.15" in text
            told = json.loads(await run("suspense", "--settled", "--most", "1", "--json"))
            assert [one["openMinor"] for one in told["items"]] == ["0"]
            assert told["totals"][0]["unexplainedMinor"] == "0"
            assert "no money in doubt" in await run("suspense", "--kind", "shortage")
            assert back not in await run("suspense", "--min-age-days", "1")
            assert "older than 30" in await run("clearing")
            told = json.loads(await run("clearing", "--json"))
            assert [one["balanceMinor"] for one in told["accounts"]] == ["0", "68"]
            assert "--min-age-days" in await run("suspense", "--help")
