"""Transfers by number: so many calls in flight at all times, each with a batch of them."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic

import grpc

from bench.figures import Done
from mesh.clock import real_epoch
from mesh.tokens import Signer
from tongbao.ledger.v1 import transfer_service_pb2 as pb
from tongbao.ledger.v1.transfer_service_pb2_grpc import TransferServiceStub

MODES = ("uniform", "hot", "zipf", "linked", "twophase")
CALL_S = 60.0
CHAIN = 4  # Transfers of a chain, in `linked`.
_TEMPLATES = 8  # Calls that are made before the load, and sent again under new ids.
_SEQUENCE = [(0x7000 | count).to_bytes(2) + b"\x80" for count in range(4096)]


@dataclass(frozen=True, slots=True)
class LedgerShape:
    """How a load looks: which transfers, how many in a call, how many calls at once."""

    mode: str
    batch: int
    books: int
    in_flight: int
    accounts: int
    seconds: float
    warm_up: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A business line with a book of its own, and the ids of its accounts."""

    business_code: str
    book_id: int
    accounts: Sequence[int]


class Ids:
    """UUIDv7s that rise, as those of a caller do that makes them one after the other."""

    def __init__(self) -> None:
        self._count = itertools.count()

    def take(self, count: int) -> list[bytes]:
        """Return so many new ids, as bytes."""
        head = int(real_epoch() * 1000).to_bytes(6)
        chance = os.urandom(7 * count)
        first = next(self._count) * count
        return [
            head + _SEQUENCE[(first + nth) & 4095] + chance[7 * nth : 7 * nth + 7]
            for nth in range(count)
        ]


class Calls:
    """Makes calls of a shape for one line. Only ids are made during the load."""

    def __init__(self, line: Line, shape: LedgerShape, ids: Ids) -> None:
        self.line, self._shape, self._ids = line, shape, ids
        dice = random.Random(line.book_id)  # noqa: S311 it only spreads load
        templates = [
            pb.PostTransfersRequest(
                business_code=line.business_code, transfers=transfers(line.accounts, shape, dice)
            )
            for _ in range(_TEMPLATES + shape.in_flight)
        ]
        self._templates = itertools.cycle(templates)

    def next(self) -> pb.PostTransfersRequest:
        """Return a call that was never sent. It may be changed when it has been answered."""
        request = next(self._templates)
        ids = self._ids.take(self._shape.batch)
        for transfer, number in zip(request.transfers, ids, strict=True):
            transfer.id = number
        if self._shape.mode == "twophase":
            half = self._shape.batch // 2
            for transfer, hold in zip(request.transfers[half:], ids[:half], strict=False):
                transfer.ref = hold
        return request


def transfers(
    accounts: Sequence[int], shape: LedgerShape, dice: random.Random
) -> list[pb.Transfer]:
    """Return the transfers of one call, without ids."""
    made = []
    weights = None
    if shape.mode == "zipf":
        weights = list(itertools.accumulate(1 / rank for rank in range(1, len(accounts) + 1)))
    for place in range(shape.batch):
        debit, credit = _pair(accounts, shape.mode, weights, dice)
        transfer = pb.Transfer(
            debit_account_id=debit,
            credit_account_id=credit,
            amount_minor=dice.randint(1, 1_000),
            code=1,
        )
        if shape.mode == "linked" and place % CHAIN < CHAIN - 1 and place < shape.batch - 1:
            transfer.flags = pb.TRANSFER_FLAG_LINKED
        made.append(transfer)
    if shape.mode == "twophase":
        half = shape.batch // 2
        for hold in made[:half]:
            hold.flags = pb.TRANSFER_FLAG_PENDING
        made[half : 2 * half] = [
            pb.Transfer(flags=pb.TRANSFER_FLAG_POST, amount_minor=-1, code=1) for _ in range(half)
        ]
    return made


def _pair(
    accounts: Sequence[int], mode: str, weights: Sequence[float] | None, dice: random.Random
) -> tuple[int, int]:
    """Return two accounts that differ; in `hot` one of them always is the same."""
    if mode == "hot":
        return dice.choice(accounts[1:]), accounts[0]
    if weights is None:
        debit, credit = dice.sample(accounts, 2)
        return debit, credit
    while True:
        debit, credit = dice.choices(accounts, cum_weights=weights, k=2)
        if debit != credit:
            return debit, credit


async def run_ledger(
    stub: TransferServiceStub, lines: Sequence[Line], shape: LedgerShape, signer: Signer
) -> tuple[list[Done], float, float]:
    """Keep the load up, through the warm-up and the measured seconds.

    Returns every call, and when the measured seconds began and ended. A call brings the
    transfers that are OK, and names what became of the others.
    """
    ids, done = Ids(), []
    calls = [Calls(line, shape, ids) for line in lines]
    begin = monotonic() + shape.warm_up
    end = begin + shape.seconds

    async def keep_one(source: Calls) -> None:
        while monotonic() < end:
            request = source.next()
            metadata = (("authorization", f"Bearer {signer.token()}"),)
            began = monotonic()
            try:
                answer = await stub.PostTransfers(request, timeout=CALL_S, metadata=metadata)
            except grpc.aio.AioRpcError as error:
                done.append(Done(began, monotonic(), 0, (error.code().name,)))
                continue
            done.append(_done(began, answer))

    await asyncio.gather(*(keep_one(calls[n % len(calls)]) for n in range(shape.in_flight)))
    return done, begin, end


def _done(began: float, answer: pb.PostTransfersResponse) -> Done:
    counts = Counter(answer.results)
    posted = counts.pop(pb.RESULT_CODE_OK, 0)
    errors = [pb.ResultCode.Name(code) for code in counts.elements()]
    return Done(began, monotonic(), posted, tuple(errors))
