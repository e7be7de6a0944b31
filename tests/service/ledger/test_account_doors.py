"""Accounts as operators, neighbours and the command line meet them: sockets, tokens, processes."""

import asyncio
import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from mesh.cli import main
from mesh.supervisor.home import HomeLock, remove_state, write_state
from tests.service.ledger.test_service import (
    CLEARING,
    CONTEXT,
    WALLET,
    Neighbours,
    item,
    open_accounts,
    recharge,
)
from tests.services import fields_of, info_of
from tongbao.ledger.v1 import account_pb2
from tongbao.ledger.v1 import account_read_service_pb2 as read
from tongbao.ledger.v1 import account_service_pb2 as pb
from tongbao.ledger.v1 import ledger_service_pb2 as ledger_pb
from tongbao.ledger.v1.account_read_service_pb2_grpc import AccountReadServiceStub
from tongbao.ledger.v1.account_service_pb2_grpc import AccountServiceStub

ROOT = Path(__file__).parents[3]
NAME = "wallet:MALL/u1:CNY"


def ref(account):
    return account_pb2.AccountRef(key=account)


async def furnished(ledger):
    """A wallet with three recharges."""
    stub = Neighbours(ledger)
    await open_accounts(stub, WALLET, CLEARING)
    items = [item(recharge(amount)) for amount in (5, 6, 7)]
    await stub.BatchPost(ledger_pb.BatchPostRequest(items=items))


async def test_operators_keep_accounts(ground):
    """Every verb, with its replay, its history and its refusals."""
    async with ground.run("ledger") as ledger:
        await furnished(ledger)
        stub = AccountServiceStub(ledger.operator())

        got = await stub.GetAccount(pb.GetAccountRequest(account=ref(WALLET)))
        account = got.account
        assert (account.key, account.posted_minor, account.floor_minor) == (WALLET, 18, 0)
        assert not account.HasField("cap_minor")
        assert account.normal_side == account_pb2.SIDE_CREDIT
        by_id = account_pb2.AccountRef(account_id=account.account_id)

        block = pb.BlockAccountRequest(
            request_id="r1", account=by_id, blocks=[account_pb2.BLOCK_DEBIT], cause="police"
        )
        for known in (False, True):
            call = stub.BlockAccount(block)
            assert list((await call).account.blocks) == [account_pb2.BLOCK_DEBIT]
            assert (
                ("idempotent-replayed", "true") in tuple(await call.trailing_metadata())
            ) == known
        spent = recharge(template="WALLET_PAID")
        answer = await Neighbours(ledger).BatchPost(ledger_pb.BatchPostRequest(items=[item(spent)]))
        assert answer.results[0].postings[0].refusal == "DEBIT_ACCOUNT_BLOCKED"
        request = pb.UnblockAccountRequest(
            request_id="r2", account=by_id, blocks=[account_pb2.BLOCK_DEBIT], cause="over"
        )
        assert not (await stub.UnblockAccount(request)).account.blocks
        limits = pb.SetAccountLimitsRequest(
            request_id="r3", account=by_id, cause="limit", cap_minor=100
        )
        assert (await stub.SetAccountLimits(limits)).account.cap_minor == 100
        lifted = pb.SetAccountLimitsRequest(
            request_id="r4", account=by_id, cause="limit", no_cap=True
        )
        assert not (await stub.SetAccountLimits(lifted)).account.HasField("cap_minor")
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await stub.CloseAccount(
                pb.CloseAccountRequest(request_id="r5", account=by_id, cause="done")
            )
        assert info_of(failed.value).reason == "ACCOUNT_NOT_EMPTY"
        assert info_of(failed.value).metadata["posted_minor"] == "18"

        got = await stub.GetAccount(pb.GetAccountRequest(account=by_id))
        verbs = [(one.verb, one.actor, one.cause) for one in got.changes]
        assert verbs == [
            ("SET_LIMITS", "op:admin", "limit"),
            ("SET_LIMITS", "op:admin", "limit"),
            ("UNBLOCK", "op:admin", "over"),
            ("BLOCK", "op:admin", "police"),
        ]


async def test_operators_read_accounts(ground):
    """Lists, an owner's view, statements page by page, balances of the past, holds."""
    async with ground.run("ledger") as ledger:
        await furnished(ledger)
        stub = AccountServiceStub(ledger.operator())

        wallets = await stub.ListAccounts(pb.ListAccountsRequest(kind=WALLET.kind))
        assert [one.key for one in wallets.accounts] == [WALLET]
        blocked = pb.ListAccountsRequest(status=pb.ListAccountsRequest.STATUS_DEBIT_BLOCKED)
        assert not (await stub.ListAccounts(blocked)).accounts
        whose = pb.WalletOwner(business_code="MALL", user_no="u1")
        owned = await stub.ListOwnerAccounts(pb.ListOwnerAccountsRequest(wallet=whose))
        assert [one.available_minor for one in owned.accounts] == [18]

        request, told = pb.ListStatementRequest(account=ref(WALLET), page_size=2), []
        while True:
            page = await stub.ListStatement(request)
            told += page.lines
            request.page_token = page.next_page_token
            if not page.next_page_token:
                break
        assert [line.balance_after_minor for line in told] == [18, 11, 5]
        assert {line.kind for line in told} == {account_pb2.StatementLine.KIND_BOOKED}
        assert {line.template for line in told} == {"RECHARGED"}
        first = await stub.ListStatement(pb.ListStatementRequest(account=ref(WALLET), page_size=2))
        other = pb.ListStatementRequest(account=ref(CLEARING), page_token=first.next_page_token)
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await stub.ListStatement(other)
        assert info_of(failed.value).reason == "PAGE_TOKEN_INVALID"

        then = pb.GetBalanceAtRequest(account=ref(WALLET), time=told[1].create_time)
        found = await stub.GetBalanceAt(then)
        same_block = told[0].create_time == told[1].create_time
        assert found.posted_minor == (18 if same_block else 11)
        assert found.is_final
        on = pb.GetBalanceAtRequest(account=ref(WALLET), acct_date=told[0].acct_date)
        found = await stub.GetBalanceAt(on)
        assert (found.posted_minor, found.is_final) == (18, False)
        assert not (await stub.ListHolds(pb.ListHoldsRequest(account=ref(WALLET)))).holds


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"from_date": "2026-02-30"}, "from_date"),
        ({"to_date": "2026-01-01", "since": {"seconds": 1}}, "to_date"),
        ({"account": {"key": {"kind": 1, "currency_code": "CNY"}}}, "account.owner"),
        ({"account": {}}, "account.by"),
        ({"page_size": 201}, "page_size"),
    ],
)
async def test_a_statement_that_makes_no_sense_is_turned_away(ground, wrong, field):
    """With the field that is wrong."""
    async with ground.run("ledger") as ledger:
        stub = AccountServiceStub(ledger.operator())
        known = {"account": ref(WALLET)}
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await stub.ListStatement(pb.ListStatementRequest(**(known | wrong)))
        assert list(fields_of(failed.value)) == [field]


async def test_trade_reads_on_behalf_of_an_app(ground):
    """And only trade; nobody blocks an account from inside."""
    async with ground.run("ledger") as ledger:
        await furnished(ledger)
        stub = AccountReadServiceStub(ledger.channel("trade"))
        whose = pb.WalletOwner(business_code="MALL", user_no="u1")

        owned = await stub.ReadOwnerAccounts(
            read.ReadOwnerAccountsRequest(
                context=CONTEXT, query=pb.ListOwnerAccountsRequest(wallet=whose)
            )
        )
        assert [one.posted_minor for one in owned.accounts] == [18]
        query = pb.ListStatementRequest(account=ref(WALLET), oldest_first=True)
        page = await stub.ReadStatement(read.ReadStatementRequest(context=CONTEXT, query=query))
        assert [line.amount_minor for line in page.lines] == [5, 6, 7]
        at = pb.GetBalanceAtRequest(account=ref(WALLET), time=page.lines[-1].create_time)
        found = await stub.ReadBalanceAt(read.ReadBalanceAtRequest(context=CONTEXT, query=at))
        assert found.balance.posted_minor == 18

        other = AccountReadServiceStub(ledger.channel("payment"))
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await other.ReadStatement(read.ReadStatementRequest(context=CONTEXT, query=query))
        assert info_of(failed.value).reason == "PERMISSION_DENIED"
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await AccountServiceStub(ledger.channel("trade")).GetAccount(
                pb.GetAccountRequest(account=ref(WALLET))
            )
        assert info_of(failed.value).reason == "PERMISSION_DENIED"


@contextmanager
def said_to_run(ledger):
    """The home looks as if a supervisor ran there, for the command line to find the ledger."""
    home = ledger.settings.home
    lock = HomeLock(home)
    lock.take()
    try:
        write_state(home, {"ports": ledger.settings.public_ports})
        yield
    finally:
        remove_state(home)
        lock.release()


def tongbao(*arguments, home):
    """Run `tongbao ledger`; return its finished process."""
    return subprocess.run(
        [sys.executable, "-m", "mesh.cli", "ledger", *arguments, "--home", str(home)],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=60,
    )


async def test_the_command_line_keeps_accounts(ground):
    """Each verb as a process: what it prints, what it says when it is refused."""
    async with ground.run("ledger") as ledger:
        await furnished(ledger)

        async def run(*arguments):
            return await asyncio.to_thread(tongbao, *arguments, home=ground.home)

        async def told(*arguments):
            done = await run(*arguments, "--json")
            assert done.returncode == 0, done.stderr
            return json.loads(done.stdout)

        with said_to_run(ledger):
            shown = (await told("account", NAME))["account"]
            assert (shown["postedMinor"], shown["pendingInMinor"]) == ("18", "0")
            done = await run("block", NAME, "--debit", "--cause", "police")
            assert (done.returncode, "no debit" in done.stdout) == (0, True), done.stderr
            listed = (await told("accounts", "--status", "debit-blocked"))["accounts"]
            assert [one["accountId"] for one in listed] == [shown["accountId"]]
            owned = (await told("accounts", "--wallet", "MALL/u1"))["accounts"]
            assert owned == listed
            done = await run("account", shown["accountId"])
            assert "police" in done.stdout
            assert "0.18" in done.stdout
            unblock = ("unblock", NAME, "--debit", "--credit", "--cause", "over")
            assert (await told(*unblock))["account"]["blocks"] == []
            lines = (await told("statement", NAME, "--most", "2"))["lines"]
            assert [line["balanceAfterMinor"] for line in lines] == ["18", "11"]
            assert (await told("holds", NAME)) == {"holds": []}
            day = lines[0]["acctDate"]
            assert (await told("balance", NAME, "--on", day))["postedMinor"] == "18"
            capped = await told("limits", NAME, "--cap", "900", "--floor", "0", "--cause", "x")
            assert capped["account"]["capMinor"] == "900"

            done = await run("close", NAME, "--cause", "gone")
            assert done.returncode == 1
            assert "why: ACCOUNT_NOT_EMPTY, account_id = " in done.stderr
            assert "next: Pay out what is on it" in done.stderr
            done = await run("block", "fee_income::CNY", "--debit", "--cause", "x")
            assert done.returncode == 1
            assert "why: ACCOUNT_INDISPENSABLE, account_id = " in done.stderr
            assert "kind = FEE_INCOME" in done.stderr
            assert "next: Only wallets and what merchants have" in done.stderr
            done = await run("account", "wallet:MALL/u2:CNY", "--json")
            assert done.returncode == 1
            assert "tongbao ledger accounts" in json.loads(done.stderr)["next"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["account", "wallet"], "must be an id or kind:owner:currency"),
        (["account", "purse:u1:CNY"], "kind: must be one of wallet, "),
        (["block", NAME, "--cause", "x"], "--debit"),
        (["limits", NAME, "--cause", "x"], "--floor"),
        (["limits", NAME, "--cause", "x", "--cap", "1.5"], "whole number of minor units"),
        (["balance", NAME], "--at a time"),
        (["statement", NAME, "--since", "yesterday"], "must be a time such as"),
        (["accounts", "--wallet", "u1"], "must be <business code>/<user no>"),
        (["accounts", "--merchant", "m", "--kind", "wallet"], "narrowed by --currency only"),
    ],
)
def test_a_command_that_makes_no_sense_is_misuse(tmp_path, capsys, wrong, said):
    """Before anything is asked."""
    assert main(["ledger", *wrong, "--home", str(tmp_path)]) == 2
    assert said in capsys.readouterr().err
