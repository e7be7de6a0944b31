"""Transfers by number, as neighbours send them: one call, many results."""

import asyncio
import random
from datetime import timedelta

import grpc
import pytest

from ledger.store import transfer as store
from mesh.clock import real_now
from tests.service.ledger.books import (
    BLUE,
    EXPIRY,
    LINKED,
    PENDING,
    POST,
    RED,
    VOID,
    connect,
    open_account,
)
from tests.services import fields_of, info_of
from tongbao.ledger.v1 import ledger_ops_service_pb2 as ops
from tongbao.ledger.v1 import transfer_service_pb2 as pb
from tongbao.ledger.v1.ledger_ops_service_pb2_grpc import LedgerOpsServiceStub
from tongbao.ledger.v1.transfer_service_pb2_grpc import BookOpsServiceStub, TransferServiceStub

BANK, ANNE, BEN = 1, 2, 3
Code = pb.ResultCode


def uuid7(age=timedelta(0)):
    ms = int((real_now() - age).timestamp() * 1000)
    chance = random.getrandbits(62)
    return (ms << 80 | 7 << 76 | random.getrandbits(12) << 64 | 2 << 62 | chance).to_bytes(16)


def transfer(debit, credit, amount, flags=0, **fields):
    known = {"id": uuid7(), "debit_account_id": debit, "credit_account_id": credit, "code": 1}
    return pb.Transfer(**(known | {"amount_minor": amount, "flags": flags} | fields))


def resolve(hold, flags, amount=-1):
    return pb.Transfer(id=uuid7(), ref=hold.id, flags=flags, amount_minor=amount)


def call(*transfers, business_code="MALL"):
    return pb.PostTransfersRequest(business_code=business_code, transfers=transfers)


class Books:
    """The rpcs, and the book behind them."""

    def __init__(self, ledger):
        self.ledger = ledger
        self.stub = TransferServiceStub(ledger.channel("payment"))
        self.ops = BookOpsServiceStub(ledger.operator())
        self.rows = ledger.rows

    async def post(self, *transfers, **fields):
        answer = await self.stub.PostTransfers(call(*transfers, **fields))
        return [Code.Name(one).removeprefix("RESULT_CODE_") for one in answer.results]

    async def refusal(self, request):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await request
        return info_of(caught.value).reason

    def balances(self):
        return dict(self.rows("SELECT account_id, normal * (credit - debit) FROM balance"))

    async def findings(self):
        stub = LedgerOpsServiceStub(self.ledger.operator())
        proof = await stub.ProveBook(ops.ProveBookRequest())
        return [(one.check, one.place, one.detail) for one in proof.findings]


@pytest.fixture
async def books(ground):
    """A book where the bank has paid 10,000 to Anne."""
    async with ground.run("ledger") as ledger:
        made = Books(ledger)
        with connect(ledger.dsn) as connection:
            open_account(connection, BANK, normal=-1)
            open_account(connection, ANNE, floor=0)
            open_account(connection, BEN, floor=0)
        assert await made.post(transfer(BANK, ANNE, 10_000)) == ["OK"]
        yield made


async def test_each_transfer_has_its_own_result(books):
    """In their order; a repeat is told so, and so is what failed before."""
    first, short = transfer(ANNE, BEN, 3_000), transfer(BEN, ANNE, 3_001)
    request = call(first, short, first, transfer(ANNE, ANNE, 1), transfer(ANNE, 99, 1))

    answer = await books.stub.PostTransfers(request)
    again = await books.stub.PostTransfers(request)

    assert list(answer.results) == [
        Code.RESULT_CODE_OK,
        Code.RESULT_CODE_EXCEEDS_FLOOR,
        Code.RESULT_CODE_EXISTS,
        Code.RESULT_CODE_ACCOUNTS_MUST_DIFFER,
        Code.RESULT_CODE_CREDIT_ACCOUNT_NOT_FOUND,
    ]
    assert answer.block_no == 2
    assert answer.acct_date == books.rows("SELECT acct_date::text FROM book")[0][0]
    assert again.block_no == 0
    assert [Code.Name(one)[12:] for one in again.results] == [
        "EXISTS",
        "ID_ALREADY_FAILED",
        "EXISTS",
        "ACCOUNTS_MUST_DIFFER",
        "ID_ALREADY_FAILED",
    ]
    assert books.balances() == {BANK: 10_000, ANNE: 7_000, BEN: 3_000}


async def test_holds_and_chains_go_through(books):
    """Two phases, linked legs, and what a caller may not say."""
    hold = transfer(ANNE, BEN, 6_000, PENDING)
    open_end = [transfer(ANNE, BEN, 1, LINKED), transfer(ANNE, BEN, 1, LINKED)]

    assert await books.post(hold, resolve(hold, POST, 2_000)) == ["OK", "OK"]
    assert await books.post(resolve(hold, VOID)) == ["HOLD_ALREADY_POSTED"]
    assert await books.post(*open_end) == ["LINKED_TRANSFER_FAILED", "LINKED_CHAIN_OPEN"]
    assert await books.post(transfer(ANNE, BEN, 1, LINKED), transfer(BANK, ANNE, 0)) == [
        "LINKED_TRANSFER_FAILED",
        "AMOUNT_OUT_OF_RANGE",
    ]
    assert books.balances()[BEN] == 2_000


async def test_reversals_go_through(books):
    """Red and blue, together no more than the original."""
    first = transfer(ANNE, BEN, 3_000)

    assert await books.post(
        first,
        transfer(BEN, ANNE, 1_000, BLUE, ref=first.id),
        transfer(ANNE, BEN, 2_000, RED, ref=first.id),
        transfer(BEN, ANNE, 1, BLUE, ref=first.id),
    ) == ["OK", "OK", "OK", "EXCEEDS_ORIGINAL"]
    assert books.balances() == {BANK: 10_000, ANNE: 10_000, BEN: 0}


async def test_a_chain_does_not_go_beyond_its_call(books):
    """Whoever waits behind an open chain is posted as if it had come alone."""
    async with asyncio.TaskGroup() as together:
        first = together.create_task(books.post(transfer(BANK, ANNE, 1)))  # The others wait.
        tasks = [
            together.create_task(books.post(transfer(ANNE, BEN, 1), transfer(ANNE, BEN, 1, flags)))
            for flags in (LINKED, 0, LINKED, 0)
        ]
    assert first.result() == ["OK"]
    assert [task.result() for task in tasks] == [["OK", "LINKED_CHAIN_OPEN"], ["OK", "OK"]] * 2


async def test_many_calls_are_few_blocks(books):
    """What waits at the same moment is posted together, each with its own results."""
    [[before]] = books.rows("SELECT head_block FROM book")
    sizes = [random.Random(7).randint(1, 40) for _ in range(60)]
    calls = [[transfer(BANK, ANNE, 1) for _ in range(size)] for size in sizes]
    calls[30][0] = transfer(BEN, ANNE, 1)

    results = await asyncio.gather(*(books.post(*one) for one in calls))

    assert [len(one) for one in results] == sizes
    failed = [one for result in results for one in result if one != "OK"]
    assert failed == ["EXCEEDS_FLOOR"]
    assert results[30][0] == "EXCEEDS_FLOOR"
    [[after]] = books.rows("SELECT head_block FROM book")
    assert after - before < 60
    assert books.balances()[ANNE] == 10_000 + sum(sizes) - 1


async def test_a_block_has_no_more_than_its_size(books, monkeypatch):
    """Calls that do not fit together follow one another."""
    calls = [[transfer(BANK, ANNE, 1) for _ in range(5_000)] for _ in range(3)]

    results = await asyncio.gather(*(books.post(*one) for one in calls))

    assert results == [["OK"] * 5_000] * 3
    sizes = books.rows("SELECT transfers FROM block ORDER BY block_no")
    assert sizes == [(1,)] + [(5_000,)] * 3


async def test_what_was_posted_is_looked_up(books):
    """What stands in the journal, what failed for ever, and what never came."""
    hold = transfer(ANNE, BEN, 500, PENDING, ttl_seconds=60, txn=uuid7())
    short = transfer(BEN, ANNE, 1)
    capture = resolve(hold, POST, 200)
    assert await books.post(hold, short, capture) == ["OK", "EXCEEDS_FLOOR", "OK"]
    ids = [one.id for one in (capture, short, transfer(1, 2, 3), hold)]

    request = pb.LookupTransfersRequest(business_code="MALL", ids=ids)
    first, second, third, fourth = (await books.stub.LookupTransfers(request)).results

    booked = first.transfer
    assert booked.transfer == pb.Transfer(
        id=capture.id,
        debit_account_id=ANNE,
        credit_account_id=BEN,
        amount_minor=200,
        flags=POST,
        ref=hold.id,
    )
    assert (booked.block_no, booked.place) == (2, 3)
    assert (booked.debit_balance_minor, booked.credit_balance_minor) == (9_800, 200)
    assert booked.create_time.seconds > 0
    assert second == pb.LookupResult(failure=Code.RESULT_CODE_EXCEEDS_FLOOR)
    assert third == pb.LookupResult()
    assert fourth.transfer.transfer.txn == hold.txn


# What is wrong with the second of two transfers, and the field that is told.
MALFORMED = [
    ({"id": b"short"}, "transfers.id"),
    ({"code": 32_768}, "transfers.code"),
    ({"flags": EXPIRY | VOID}, "transfers.flags"),
    ({"flags": 1024}, "transfers.flags"),
    ({"ttl_seconds": -1}, "transfers.ttl_seconds"),
    ({"ref": b"x" * 15}, "transfers.ref"),
    ({"txn": b"x" * 17}, "transfers.txn"),
]


@pytest.mark.parametrize(("wrong", "field"), MALFORMED)
async def test_a_malformed_transfer_refuses_the_call(books, wrong, field):
    """It is a bug of the caller; nothing of the call is posted."""
    odd = transfer(ANNE, BEN, 1)
    odd.MergeFrom(pb.Transfer(**wrong))

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await books.post(transfer(ANNE, BEN, 1), odd)
    assert fields_of(caught.value) == [field]
    assert books.balances()[BEN] == 0


@pytest.mark.parametrize("count", [0, 8191])
async def test_a_call_has_its_size(books, count):
    """1 to 8190."""
    transfers = [transfer(ANNE, BEN, 1)] * count
    assert await books.refusal(books.post(*transfers)) == "INVALID_FIELDS"


OUT_OF_RANGE = {
    "old": lambda: uuid7(timedelta(days=36)),
    "ahead": lambda: uuid7(timedelta(minutes=-6)),
    "zero": lambda: bytes(16),
    "version 4": lambda: uuid7()[:6] + b"\x40" + uuid7()[7:],
}


@pytest.mark.parametrize("wrong", OUT_OF_RANGE.values(), ids=OUT_OF_RANGE)
async def test_an_id_is_of_our_time(books, wrong):
    """One that is older could not be told from a repetition, so the call is refused."""
    call = books.post(transfer(ANNE, BEN, 1), transfer(ANNE, BEN, 1, id=wrong()))
    assert await books.refusal(call) == "TRANSFER_ID_OUT_OF_RANGE"
    assert books.balances()[BEN] == 0


async def test_what_has_no_voucher_is_proved_without(books):
    """With a txn or without."""
    grouped = [transfer(ANNE, BEN, 1, txn=uuid7()), transfer(ANNE, BEN, 1)]
    assert await books.post(*grouped) == ["OK", "OK"]

    assert await books.findings() == []


async def test_books_are_made_and_named(books):
    """A line goes to its book before its first transfer, and then stays."""
    create, assign = books.ops.CreateBook, books.ops.AssignBook
    second = (await create(pb.CreateBookRequest(name="second"))).book_id
    assert second == 2
    assert (await create(pb.CreateBookRequest(name="second"))).book_id == second

    request = pb.AssignBookRequest(business_code="SHOP", name="second")
    assert (await assign(request)).book_id == second
    assert (await assign(request)).book_id == second
    assert await books.post(transfer(BANK, ANNE, 1), business_code="SHOP") == [
        "DEBIT_ACCOUNT_NOT_FOUND"
    ]
    back = pb.AssignBookRequest(business_code="SHOP", name="main")
    used = pb.AssignBookRequest(business_code="MALL", name="second")
    missing = pb.AssignBookRequest(business_code="MALL", name="third")
    assert await books.refusal(assign(back)) == "BUSINESS_CODE_IN_USE"
    assert await books.refusal(assign(used)) == "BUSINESS_CODE_IN_USE"
    assert await books.refusal(assign(missing)) == "BOOK_NOT_FOUND"


async def test_a_line_that_was_only_refused_may_move(books):
    """Nothing of it is in any book, and nothing remembers another one."""
    create, assign = books.ops.CreateBook, books.ops.AssignBook
    odd = books.post(transfer(BANK, ANNE, 1, id=bytes(16)), business_code="SHOP")
    assert await books.refusal(odd) == "TRANSFER_ID_OUT_OF_RANGE"
    request = pb.LookupTransfersRequest(business_code="SHOP", ids=[uuid7()])
    await books.stub.LookupTransfers(request)
    second = (await create(pb.CreateBookRequest(name="second"))).book_id

    await assign(pb.AssignBookRequest(business_code="SHOP", name="second"))
    await books.post(transfer(BANK, ANNE, 1), business_code="SHOP")

    assert books.rows("SELECT DISTINCT book_id FROM reject") == [(second,)]


async def test_the_first_call_of_a_line_keeps_it(books):
    """Many at once, of a line that nobody has named."""
    calls = [books.post(transfer(BANK, ANNE, 1), business_code=f"L{n % 3}") for n in range(30)]

    assert await asyncio.gather(*calls) == [["OK"]] * 30
    kept = books.rows("SELECT business_code, book_id FROM book_of ORDER BY 1")
    assert kept == [("", 1), ("L0", 1), ("L1", 1), ("L2", 1), ("MALL", 1)]


def test_the_contract_says_what_the_books_say(database):
    """Every result has the same number and name in both; OK alone has another number."""
    with connect(database("ledger")) as connection:
        stored = dict(connection.execute("SELECT name, code FROM result_code").fetchall())
    stored["OK"] = store.OK
    told = {name.removeprefix("RESULT_CODE_"): code for name, code in Code.items() if code}
    assert told == stored
