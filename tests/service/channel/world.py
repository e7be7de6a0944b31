"""What the tests of channel stand on: the service, a scripted ledger, a voice for providers."""

import asyncio
import itertools
import json
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import aiohttp

from mesh.batch import Unknown
from mesh.clock import real_now
from mesh.errors import Refused
from mesh.items import each
from mesh.serve import Door, Service
from mesh.supervisor.children import listens
from tests.services import Ground, Handle
from tests.simulator import Simulator, free_port, sign
from tests.waiting import eventually
from tongbao.channel.v1 import attempt_pb2, channel_ops_service_pb2_grpc, channel_service_pb2_grpc
from tongbao.channel.v1 import channel_ops_service_pb2 as ops
from tongbao.channel.v1 import channel_service_pb2 as pb
from tongbao.common.v1 import item_pb2, kinds_pb2, money_pb2, trace_pb2
from tongbao.ledger.v1 import (
    ledger_pb2,
    ledger_service_pb2,
    ledger_service_pb2_grpc,
    reasons_pb2,
)

SECONDS = 20
QR, BALANCE = kinds_pb2.TOOL_QR_PAYER, kinds_pb2.TOOL_BALANCE
PAY, REFUND = attempt_pb2.OPERATION_PAY, attempt_pb2.OPERATION_REFUND
PROCESSING = attempt_pb2.Attempt.STATE_PROCESSING
SUCCEEDED = attempt_pb2.Attempt.STATE_SUCCEEDED
FAILED = attempt_pb2.Attempt.STATE_FAILED
CLOSED = attempt_pb2.Attempt.STATE_CLOSED
REVIEW = attempt_pb2.Attempt.STATE_REVIEW

_legs = itertools.count(1)


@dataclass
class Script:
    """What the ledger of a test does, and what it was asked."""

    refusal: str = ""  # Of every posting.
    decline: bool = False  # Every item, at the door.
    lose_answers: int = 0  # So many postings are booked, and the answer is lost.
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    posted: list[ledger_pb2.Posting] = field(default_factory=list)
    booked: dict[tuple[str, str], ledger_pb2.Posting] = field(default_factory=dict)
    forbidden: set[tuple[str, str]] = field(default_factory=set)
    lose_forbids: int = 0  # So many wishes to forbid are lost; nobody can say whether they came.
    opened: list[tuple[str, str]] = field(default_factory=list)
    refuse_opening: bool = False

    def __post_init__(self) -> None:
        self.gate.set()


class Ledger(ledger_service_pb2_grpc.LedgerServiceServicer):
    """Books once by template and number, as the script allows."""

    def __init__(self, script: Script) -> None:
        self.script = script

    async def BatchPost(self, request, context):  # noqa: N802
        results = await each(request.items, self._post, ledger_service_pb2.PostResult)
        return ledger_service_pb2.BatchPostResponse(results=results)

    async def BatchForbid(self, request, context):  # noqa: N802
        results = await each(request.items, self._forbid, ledger_service_pb2.ForbidResult)
        return ledger_service_pb2.BatchForbidResponse(results=results)

    async def BatchOpenAccounts(self, request, context):  # noqa: N802
        results = await each(request.items, self._open, ledger_service_pb2.OpenAccountResult)
        return ledger_service_pb2.BatchOpenAccountsResponse(results=results)

    async def _open(self, item):
        if self.script.refuse_opening:
            raise Unknown("the ledger has a bad day")
        self.script.opened.append((item.account.owner, item.account.currency_code))
        return ledger_service_pb2.OpenAccountResult()

    async def _forbid(self, item):
        key = item.posting.template, item.posting.source_no
        if self.script.lose_forbids:
            self.script.lose_forbids -= 1
            raise Unknown("the wish was lost")
        if key not in self.script.booked:
            self.script.forbidden.add(key)
        return ledger_service_pb2.ForbidResult(is_booked=key in self.script.booked)

    async def _post(self, item):
        [posting] = item.postings
        if self.script.decline:
            raise Refused("ledger.tongbao", reasons_pb2.Reason, reasons_pb2.REASON_BOOK_UNKNOWN)
        self.script.posted.append(posting)
        await self.script.gate.wait()
        outcome = ledger_pb2.PostingResult.OUTCOME_EXISTS
        refusal = self.script.refusal
        if (posting.template, posting.source_no) in self.script.forbidden:
            refusal = "FORBIDDEN"
        if refusal:
            outcome = ledger_pb2.PostingResult.OUTCOME_REFUSED
        elif (posting.template, posting.source_no) not in self.script.booked:
            self.script.booked[posting.template, posting.source_no] = posting
            outcome = ledger_pb2.PostingResult.OUTCOME_POSTED
        if self.script.lose_answers:
            self.script.lose_answers -= 1
            raise Unknown("the answer was lost")
        result = ledger_pb2.PostingResult(outcome=outcome, refusal=refusal)
        return ledger_service_pb2.PostResult(postings=[result])


def scripted_ledger(script: Script) -> Service[None]:
    """A neighbour that stands where the ledger does."""

    @asynccontextmanager
    async def opens(_):
        yield None

    return Service(
        name="ledger",
        opens=opens,
        doors=[
            Door(
                descriptor=ledger_service_pb2.DESCRIPTOR.services_by_name["LedgerService"],
                add=ledger_service_pb2_grpc.add_LedgerServiceServicer_to_server,
                servicer=lambda _: Ledger(script),
            )
        ],
    )


def leg_no(system: str = "PY") -> str:
    return f"20261122{system}{next(_legs):016d}-1"


def leg(number: str | None = None, *, seconds: float | None = SECONDS, **wanted: Any):
    """A QR leg of 10 CNY by the app mall, unless told otherwise."""
    item = pb.SubmitItem(
        leg_no=number or leg_no(),
        operation=wanted.pop("operation", PAY),
        tool=wanted.pop("tool", QR),
        amount=money_pb2.Money(
            currency_code=wanted.pop("currency_code", "CNY"),
            minor_units=wanted.pop("amount_minor", 1000),
        ),
        business_code="MALL",
        subject="A cup of tea",
        context=item_pb2.ItemContext(
            app_id=wanted.pop("app_id", "mall"), trace_no=wanted.pop("trace_no", "MALL-1")
        ),
        **wanted,
    )
    if seconds is not None:
        item.context.deadline.FromDatetime(real_now() + timedelta(seconds=seconds))
    return item


def refund_of(original: pb.SubmitItem, **wanted: Any) -> pb.SubmitItem:
    wanted = {"amount_minor": original.amount.minor_units, "tool": original.tool} | wanted
    return leg(
        leg_no("RF"),
        operation=REFUND,
        original_leg_no=original.leg_no,
        user_no=original.user_no,
        **wanted,
    )


class Stream:
    """One stream of legs, as payment holds one; answers in the order in which they come."""

    def __init__(self, handle: Handle) -> None:
        stub = channel_service_pb2_grpc.ChannelServiceStub(handle.channel("payment"))
        self._call = stub.StreamSubmits()
        self._ids = itertools.count(1)
        self._come: list[pb.SubmitResult] = []

    async def send(self, *items: pb.SubmitItem) -> None:
        for item in items:
            item.item_id = next(self._ids)
        await self._call.write(pb.StreamSubmitsRequest(items=items))

    async def next(self) -> pb.SubmitResult:
        while not self._come:
            async with asyncio.timeout(SECONDS):
                self._come += (await self._call.read()).results
        return self._come.pop(0)

    async def close(self) -> None:
        self._call.cancel()


class World:
    """A running channel service and everything around it."""

    def __init__(self, ground: Ground, simulator: Simulator, script: Script) -> None:
        self.ground, self.simulator, self.ledger = ground, simulator, script
        self.port = free_port()
        self.handle: Handle
        self.http: aiohttp.ClientSession

    @property
    def settings(self) -> dict[str, object]:
        return {"http_port": self.port, "http_url": f"http://127.0.0.1:{self.port}"}

    async def put_account(self, code: str, **wanted: Any) -> ops.PutChannelAccountResponse:
        """Sets an acquirer of the simulator up, as an operator does."""
        return await self.operator.PutChannelAccount(self.account(code, **wanted))

    @property
    def operator(self) -> channel_ops_service_pb2_grpc.ChannelOpsServiceStub:
        return channel_ops_service_pb2_grpc.ChannelOpsServiceStub(self.handle.operator())

    def account(self, code: str, **wanted: Any) -> ops.PutChannelAccountRequest:
        at = code if code in self.simulator.ports else "sim-a"
        request = {
            "channel_code": code,
            "adapter": "sim",
            "base_url": self.simulator.base_url(at),
            "provider_account": at,
            "secret": self.simulator.secrets[at],
            "tools": [QR],
            "currency_codes": ["CNY", "JPY"],
            "cost_ppm": 6000,
            "priority": 1,
        }
        return ops.PutChannelAccountRequest(**(request | wanted))

    async def submit(self, item: pb.SubmitItem, handle: Handle | None = None) -> pb.SubmitResult:
        stream = Stream(handle or self.handle)
        try:
            await stream.send(item)
            return await stream.next()
        finally:
            await stream.close()

    async def closed(self, item: pb.SubmitItem, *, seconds: float = SECONDS) -> pb.CloseResult:
        """What a close of the leg is answered."""
        stub = channel_service_pb2_grpc.ChannelServiceStub(self.handle.channel("payment"))
        call = stub.StreamCloses()
        close = pb.CloseItem(item_id=1, context=item.context, leg=item)
        close.context.deadline.FromDatetime(real_now() + timedelta(seconds=seconds))
        await call.write(pb.StreamClosesRequest(items=[close]))
        async with asyncio.timeout(SECONDS + 5):
            [result] = (await call.read()).results
        call.cancel()
        return result

    async def attempted(self, item: pb.SubmitItem) -> attempt_pb2.Attempt:
        """The attempt that answers a leg which goes well."""
        result = await self.submit(item)
        assert not result.HasField("status"), result.status
        return result.attempt

    async def paid(self, **wanted: Any) -> tuple[pb.SubmitItem, attempt_pb2.Attempt]:
        """A QR leg whose payer has paid, and the attempt as it was answered."""
        item = leg(**wanted)
        attempt = await self.attempted(item)
        await self.until(attempt.attempt_no, "succeeded")
        return item, attempt

    def row(self, attempt_no: str, columns: str) -> tuple[Any, ...]:
        [row] = self.handle.rows(
            f"SELECT {columns} FROM attempt WHERE attempt_no = %(no)s", no=attempt_no
        )
        return row

    def state(self, attempt_no: str) -> str:
        return self.row(attempt_no, "state")[0]

    async def until(self, attempt_no: str, state: str) -> None:
        await eventually(lambda: self.state(attempt_no) == state)

    def attempts(self, number: str) -> list[tuple[Any, ...]]:
        return self.handle.rows(
            "SELECT attempt_no, channel_code, state, failure_reason, sends FROM attempt"
            " WHERE leg_no = %(leg_no)s ORDER BY attempt_no",
            leg_no=number,
        )

    def waiting_for_locks(self) -> int:
        """How many connections stand before a lock."""
        [[count]] = self.handle.rows(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return count

    async def truth(self, attempt_no: str) -> list[dict]:
        return [row for row in await self.simulator.truth() if row["number"] == attempt_no]

    async def paid_there(self, attempt: attempt_pb2.Attempt) -> None:
        """Returns when the provider has the payer's money, whoever knows it."""
        async with asyncio.timeout(SECONDS):
            while [row["state"] for row in await self.truth(attempt.attempt_no)] != ["SUCCEEDED"]:
                pass

    async def settled(self) -> None:
        """Returns when everything that was begun in this process has ended."""
        crew = self.handle.runtime.crew
        await eventually(lambda: not crew._tasks)

    async def entries(self, trace_no: str, app_id: str = "mall") -> list[trace_pb2.TraceEntry]:
        stub = channel_service_pb2_grpc.ChannelServiceStub(self.handle.channel("trade"))
        context = item_pb2.ItemContext(app_id=app_id, trace_no=trace_no)
        request = pb.ListTraceEntriesRequest(context=context)
        return list((await stub.ListTraceEntries(request)).entries)

    async def say(
        self,
        attempt: attempt_pb2.Attempt,
        *,
        state: str = "SUCCEEDED",
        account: str = "sim-a",
        to: str | None = None,
        **wrong: Any,
    ) -> int:
        """Calls back as the provider would, correctly signed; returns the status."""
        content = {
            "event_id": secrets.token_hex(8),
            "kind": "charge",
            "number": attempt.attempt_no,
            "state": state,
            "amount_minor": attempt.amount.minor_units,
            "currency": attempt.amount.currency_code,
            "provider_no": attempt.provider_no or f"{account}-1",
            "qr_code": "sim:pay",
            "time": "2026-11-22T00:00:00Z",
        } | wrong
        body = json.dumps(content).encode()
        return await self.post(body, account=account, to=to or account)

    async def post(
        self, body: bytes, *, account: str, to: str, secret: str = "", **headers: str
    ) -> int:
        """Calls back with any body, signed with the account's secret unless another is given."""
        path = f"/callbacks/{to}"
        given = self.signed(path, body, account=account, secret=secret)
        url = f"http://127.0.0.1:{self.port}{path}"
        async with self.http.post(url, data=body, headers=given | headers) as reply:
            await reply.read()
            return reply.status

    def signed(self, path: str, body: bytes, *, account: str, secret: str = "") -> dict[str, str]:
        """The headers of a callback, signed with the account's secret or that one."""
        now, nonce = int(time.time()), secrets.token_hex(8)
        secret = secret or self.simulator.secrets[account]
        return {
            "Sim-Account": account,
            "Sim-Timestamp": str(now),
            "Sim-Nonce": nonce,
            "Sim-Signature": sign(secret, "POST", path, now, nonce, body=body),
        }


@asynccontextmanager
async def open_world(ground: Ground, simulator: Simulator) -> AsyncIterator[World]:
    """A channel service without accounts, and a ledger that books everything."""
    world = World(ground, simulator, Script())
    async with (
        aiohttp.ClientSession() as world.http,
        ground.run(scripted_ledger(world.ledger)),
        ground.run("channel", **world.settings) as world.handle,
    ):
        await eventually(lambda: listens(world.port))
        yield world
