"""Whoever books may be killed at any moment: what was told is there, and nothing is in part."""

import asyncio
import random
import shutil
import signal
import tempfile
from pathlib import Path

import grpc
import psycopg
import pytest

from mesh.config import load, services
from mesh.embedded import Postgres, prepare_database
from tests.mesh.servers import SMALL
from tests.service.ledger.books import LINKED, connect, open_account, uuid7
from tests.service.ledger.killing import (
    COMMITTED,
    POINTS,
    SENT,
    Dying,
    cut_power,
    findings,
    kill_backend,
    terminate,
)
from tests.service.ledger.seeds import seeds
from tests.services import holding
from tests.waiting import eventually
from tongbao.ledger.v1 import ledger_ops_service_pb2 as ops
from tongbao.ledger.v1 import transfer_service_pb2 as pb
from tongbao.ledger.v1.ledger_ops_service_pb2_grpc import LedgerOpsServiceStub
from tongbao.ledger.v1.transfer_service_pb2_grpc import TransferServiceStub

pytestmark = [pytest.mark.chaos]


@pytest.fixture(scope="session")
async def postgres():
    """A server of these tests' own, which may be killed."""
    home = Path(tempfile.mkdtemp(prefix="tongbao-killed-"))
    home.chmod(0o711)
    server = Postgres(home, major=load(home=home).postgres_major, options=SMALL)
    async with server:
        names = services()
        await prepare_database(server.admin_dsn, names, secrets=home / "secrets", exclusive=True)
        yield server
    server.remove()
    shutil.rmtree(home)


@pytest.fixture(scope="session")
def _templates():
    """Of that server."""
    return {}


@seeds(1)
async def test_a_call_is_booked_whole_or_not_at_all(postgres, dsn, desk, seed):
    """Wherever it is stopped; what was committed stays, whoever dies; sent again it is once."""
    ledger = Dying(postgres, dsn, seed)
    dice = ledger.dice
    deaths = [(moment, terminate) for moment in (*POINTS, COMMITTED, SENT)]
    deaths += [(dice.choice([*POINTS]), how) for how in (kill_backend, cut_power)]
    deaths += [(moment, cut_power) for moment in (COMMITTED, SENT)]

    for moment, how in dice.sample(deaths, len(deaths)):
        await ledger.die(moment, how)

    assert await findings(desk, dsn) == []


BANK, ANNE, BEN = 1, 2, 3
EXISTS, OK = pb.RESULT_CODE_EXISTS, pb.RESULT_CODE_OK


class Callers:
    """Calls by the door, of chains of two legs, and what each call was told."""

    def __init__(self, seed):
        dice = random.Random(seed)
        self.calls = [
            [leg for _ in range(dice.randint(1, 5)) for leg in self._chain(dice.randint(1, 50))]
            for _ in range(12)
        ]
        self.told = {}

    async def send(self, ledger):
        """Send all calls at once; return what those were told that got an answer."""
        stub = TransferServiceStub(ledger.channel("payment"))
        answers = await asyncio.gather(*(_answer(stub, call) for call in self.calls))
        told = {place: codes for place, codes in enumerate(answers) if codes is not None}
        for place, codes in told.items():
            assert len(set(codes)) == 1, "a call is booked whole"
            assert codes[0] == EXISTS if place in self.told else codes[0] in (OK, EXISTS)
        self.told |= told
        return told

    async def settle(self, ledger):
        """Send until each was answered, and once more; then look at the books."""
        await eventually(lambda: self._all_answered(ledger))
        assert {codes[0] for codes in (await self.send(ledger)).values()} == {EXISTS}
        legs = [one for call in self.calls for one in call]
        total = sum(one.amount_minor for one in legs) // 2
        with connect(ledger.dsn) as connection:
            ids = connection.execute("SELECT id FROM transfer").fetchall()
            figures = connection.execute("SELECT account_id, debit, credit FROM balance").fetchall()
        assert sorted(one.bytes for (one,) in ids) == sorted(one.id for one in legs)
        assert sorted(figures) == [(BANK, total, 0), (ANNE, total, total), (BEN, 0, total)]
        proof = await LedgerOpsServiceStub(ledger.operator()).ProveBook(ops.ProveBookRequest())
        assert list(proof.findings) == []

    async def _all_answered(self, ledger):
        await self.send(ledger)
        return len(self.told) == len(self.calls)

    @staticmethod
    def _chain(amount):
        return [_leg(BANK, ANNE, amount, flags=LINKED), _leg(ANNE, BEN, amount)]


def _leg(debit, credit, amount, **more):
    sides = {"debit_account_id": debit, "credit_account_id": credit}
    return pb.Transfer(id=uuid7().bytes, amount_minor=amount, **sides, **more)


async def _answer(stub, call):
    """Return the results, or None when nobody could say."""
    try:
        request = pb.PostTransfersRequest(business_code="MALL", transfers=call)
        return list((await stub.PostTransfers(request)).results)
    except grpc.aio.AioRpcError:
        return None


def _opened(dsn):
    with connect(dsn) as connection:
        open_account(connection, BANK, normal=-1)
        open_account(connection, ANNE, floor=0)
        open_account(connection, BEN, floor=0)


_BATCH = "ids, debits"  # In front: PostgreSQL shows the first 1024 bytes of a statement.
_BOOKING = f"""
SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
                                   AND state = 'active' AND strpos(query, '{_BATCH}') > 0
"""


@seeds(1)
async def test_the_service_is_killed_while_its_batch_waits(ground, seed):
    """The backend goes on without it: what was booked then exists, the rest is booked once."""
    callers = Callers(seed)
    async with ground.spawn("ledger") as ledger:
        _opened(ledger.dsn)
        async with holding(ledger.dsn, "SELECT FROM book FOR NO KEY UPDATE"):
            sending = asyncio.create_task(callers.send(ledger))
            await ledger.blocked(1, what=_BATCH)
            ledger.process.send(signal.SIGKILL)
            assert await sending == {}
        await eventually(lambda: ledger.rows(_BOOKING) == [])
    async with ground.spawn("ledger") as ledger:
        told = await callers.send(ledger)
        assert {codes[0] for codes in told.values()} == {EXISTS, OK}
        await callers.settle(ledger)


@seeds(1)
@pytest.mark.parametrize("how", [terminate, kill_backend, cut_power])
async def test_the_server_dies_under_the_service(ground, postgres, seed, how):
    """The callers of the batch are not told; the service goes on by itself."""
    callers = Callers(seed)
    async with ground.spawn("ledger") as ledger:
        _opened(ledger.dsn)
        with connect(ledger.dsn) as watcher, psycopg.connect(ledger.dsn) as holder:
            holder.execute("SELECT FROM book FOR NO KEY UPDATE")
            sending = asyncio.create_task(callers.send(ledger))
            await ledger.blocked(1, what=_BATCH)
            [[pid]] = ledger.rows(_BOOKING)
            await how(postgres, watcher, pid)
            for connection in (holder, watcher):
                connection.close()
        assert len(await sending) < len(callers.calls)
        await callers.settle(ledger)
