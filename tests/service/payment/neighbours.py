"""Risk, ledger and channel as scripted gRPC servers: the real contracts, on unix sockets.

Each remembers what it did, as the real one does, so repeating a call has no second effect
(`effects`), and what it was asked (`asked`). A script says how the next items are treated:
`breaks` may cut the call before or after the effect, `hangs` keeps it open.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import grpc

from mesh.call import AGAIN_MAX
from tongbao.channel.v1 import attempt_pb2, channel_service_pb2, channel_service_pb2_grpc
from tongbao.common.v1 import item_pb2
from tongbao.ledger.v1 import ledger_pb2, ledger_service_pb2, ledger_service_pb2_grpc
from tongbao.risk.v1 import risk_service_pb2, risk_service_pb2_grpc

Attempt = attempt_pb2.Attempt
Outcome = ledger_pb2.PostingResult


class Broken(Exception):
    """The call is cut: whoever waits for its answer gets none."""


@dataclass
class Neighbour:
    """What the three have in common: a script, and a memory."""

    asked: list[Any] = field(default_factory=list)
    script: deque[Callable[[Any], Any]] = field(default_factory=deque)
    effects: dict[str, Any] = field(default_factory=dict)

    repeats: ClassVar[int] = 0  # How often a link sends again what was cut.

    def then(self, *steps: Callable[[Any], Any]) -> None:
        """Treat the next items so, one step each; afterwards well again. A cut lasts."""
        for step in steps:
            cuts = step in (self.breaks, self.breaks_after)
            self.script.extend([step] * (1 + self.repeats * cuts))

    async def treat(self, item: Any) -> Any:
        """Return the answer to `item`, or break, or hang."""
        self.asked.append(item)
        step = self.script.popleft() if self.script else self.do
        answer = step(item)
        return await answer if asyncio.iscoroutine(answer) else answer

    def do(self, item: Any) -> Any:
        """Do well what is asked, once."""
        raise NotImplementedError

    # Steps of a script.

    def breaks(self, item: Any) -> Any:
        """Cut the call before anything was done."""
        raise Broken

    def breaks_after(self, item: Any) -> Any:
        """Do it, and cut the call before the answer."""
        self.do(item)
        raise Broken

    async def hangs(self, item: Any) -> Any:
        """Never answer."""
        await asyncio.Event().wait()

    async def hangs_after(self, item: Any) -> Any:
        """Do it, and never answer."""
        self.do(item)
        await asyncio.Event().wait()


def status(code: grpc.StatusCode, reason: str, domain: str) -> item_pb2.ItemStatus:
    return item_pb2.ItemStatus(code=code.value[0], reason=reason, domain=domain, message=reason)


@dataclass
class Risk(Neighbour, risk_service_pb2_grpc.RiskServiceServicer):
    """Passes everything."""

    repeats = AGAIN_MAX

    async def BatchEvaluate(self, request, context):  # noqa: N802
        """Evaluate the items, or break."""
        try:
            results = [await self.treat(item) for item in request.items]
        except Broken:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "scripted")
        return risk_service_pb2.BatchEvaluateResponse(results=results)

    def do(self, item):
        self.effects.setdefault(item.payment_no, 1)
        return risk_service_pb2.EvaluateResult(decision=risk_service_pb2.DECISION_PASS)

    def blocks(self, item):
        """Block it, as every time it is asked again."""
        return risk_service_pb2.EvaluateResult(
            decision=risk_service_pb2.DECISION_BLOCK, cause="LIMIT_EXCEEDED"
        )

    def declines(self, item):
        """Refuse the item itself."""
        refusal = status(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELDS", "tongbao")
        return risk_service_pb2.EvaluateResult(status=refusal)


@dataclass
class Ledger(Neighbour, ledger_service_pb2_grpc.LedgerServiceServicer):
    """Books everything once; `poor` merchants have nothing to refund with."""

    poor: set[str] = field(default_factory=set)
    repeats = AGAIN_MAX

    async def BatchPost(self, request, context):  # noqa: N802
        """Book the items, or break."""
        try:
            results = [await self.treat(item) for item in request.items]
        except Broken:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "scripted")
        return ledger_service_pb2.BatchPostResponse(results=results)

    def do(self, item):
        return ledger_service_pb2.PostResult(postings=[self._post(one) for one in item.postings])

    def _post(self, posting):
        key = f"{posting.template} {posting.source_no}"
        if key in self.effects:
            return self.effects[key][1]
        if posting.template == "REFUND_ASKED" and posting.merchant_id in self.poor:
            result = Outcome(outcome=Outcome.OUTCOME_REFUSED, refusal="EXCEEDS_FLOOR")
            self.effects[key] = (posting, result)
            return result
        self.effects[key] = (posting, Outcome(outcome=Outcome.OUTCOME_EXISTS))
        return Outcome(outcome=Outcome.OUTCOME_POSTED)

    def refuses(self, item):
        """Refuse its postings, for good under their numbers: the account takes no credits."""
        refused = Outcome(outcome=Outcome.OUTCOME_REFUSED, refusal="CREDIT_ACCOUNT_BLOCKED")
        for posting in item.postings:
            key = f"{posting.template} {posting.source_no}"
            self.effects.setdefault(key, (posting, refused))
        return self.do(item)

    def declines(self, item):
        """Refuse the item itself."""
        refusal = status(grpc.StatusCode.FAILED_PRECONDITION, "BOOK_UNKNOWN", "ledger.tongbao")
        return ledger_service_pb2.PostResult(status=refusal)


@dataclass
class Channel(Neighbour, channel_service_pb2_grpc.ChannelServiceServicer):
    """Charges every leg once. `says` makes the next legs end otherwise.

    A close ends what is open, and remembers what was never submitted; `closed` are its items.
    """

    closed: list[Any] = field(default_factory=list)
    close_script: deque[Callable[[Any], Any]] = field(default_factory=deque)

    async def StreamSubmits(self, requests, context):  # noqa: N802
        """Answer each item when it is done; a broken one takes the stream with it."""
        async for result in self._answers(requests, context, self.treat):
            yield channel_service_pb2.StreamSubmitsResponse(results=[result])

    async def StreamCloses(self, requests, context):  # noqa: N802
        """As StreamSubmits."""
        async for result in self._answers(requests, context, self._close):
            yield channel_service_pb2.StreamClosesResponse(results=[result])

    async def _close(self, item):
        self.closed.append(item)
        step = self.close_script.popleft() if self.close_script else self.ends
        answer = step(item.leg)
        answer = await answer if asyncio.iscoroutine(answer) else answer
        status = answer.status if answer.HasField("status") else None
        return channel_service_pb2.CloseResult(
            status=status, attempt=None if status else answer.attempt
        )

    def ends(self, item):
        """A step of a close: what is open is closed, what has ended stays."""
        attempt = self.effects.get(item.leg_no)
        if attempt is not None and attempt.state == Attempt.STATE_PROCESSING:
            attempt.state, attempt.version = Attempt.STATE_CLOSED, attempt.version + 1
        return self._answer(item, Attempt.STATE_CLOSED)

    async def _answers(self, requests, context, treat):
        done: asyncio.Queue[Any] = asyncio.Queue()

        async def one(item):
            try:
                result = await treat(item)
                result.item_id = item.item_id
            except Broken as error:
                result = error
            done.put_nowait(result)

        async def read():
            async for request in requests:
                for item in request.items:
                    tasks.append(asyncio.create_task(one(item)))

        tasks = [asyncio.create_task(read())]
        try:
            while True:
                result = await done.get()
                if isinstance(result, Broken):
                    await context.abort(grpc.StatusCode.UNAVAILABLE, "scripted")
                yield result
        finally:
            for task in tasks:
                task.cancel()

    def do(self, item):
        return self._answer(item, Attempt.STATE_SUCCEEDED)

    def says(self, state, **fields):
        """Return a step: the leg's attempt gets this state and these fields, for good."""
        return lambda item: self._answer(item, state, **fields)

    def refuses(self, reason):
        """Return a step: the item is refused for `reason`."""
        refusal = status(grpc.StatusCode.FAILED_PRECONDITION, reason, "channel.tongbao")
        return lambda item: channel_service_pb2.SubmitResult(status=refusal)

    def _answer(self, item, state, **fields):
        attempt = self.effects.get(item.leg_no)
        if attempt is None:
            attempt = self.effects[item.leg_no] = attempt_of(item, state=state, **fields)
        answer = Attempt()
        answer.CopyFrom(attempt)
        return channel_service_pb2.SubmitResult(attempt=answer)


def attempt_of(item, *, state, **fields):
    """Return the attempt at the leg that `item` submits."""
    attempt = Attempt(
        attempt_no="A" + item.leg_no[1:26],
        leg_no=item.leg_no,
        app_id=item.context.app_id,
        trace_no=item.context.trace_no,
        operation=item.operation,
        channel_code="sim",
        amount=item.amount,
        state=state,
        version=2,
    )
    attempt.MergeFrom(Attempt(**fields))
    return attempt


class Neighbours:
    """The three of them, each on its socket in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.risk, self.ledger, self.channel = Risk(), Ledger(), Channel()
        self._servers: list[grpc.aio.Server] = []

    async def __aenter__(self) -> Self:
        for name, servicer, add in (
            ("risk", self.risk, risk_service_pb2_grpc.add_RiskServiceServicer_to_server),
            ("ledger", self.ledger, ledger_service_pb2_grpc.add_LedgerServiceServicer_to_server),
            (
                "channel",
                self.channel,
                channel_service_pb2_grpc.add_ChannelServiceServicer_to_server,
            ),
        ):
            server = grpc.aio.server()
            add(servicer, server)
            server.add_insecure_port(f"unix:{self.folder / name}.sock")
            await server.start()
            self._servers.append(server)
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(server.stop(None) for server in self._servers))
